#include "services/imapd/order/sort_key.h"

#include <stdlib.h>

#include "libcommon/mail/address.h"
#include "libcommon/mail/date.h"
#include "libcommon/mail/encoded_word.h"
#include "libcommon/mail/header.h"
#include "services/imapd/order/base_subject.h"
#include "services/imapd/order/casemap.h"

static const struct {
    const char *name;
    enum sort_by by;
} criteria[] = {
    {"ARRIVAL", SORT_ARRIVAL},     {"SIZE", SORT_SIZE}, {"DATE", SORT_DATE}, {"SUBJECT", SORT_SUBJECT},
    {"FROM", SORT_FROM},           {"TO", SORT_TO},     {"CC", SORT_CC},     {"DISPLAYFROM", SORT_DISPLAY_FROM},
    {"DISPLAYTO", SORT_DISPLAY_TO}};
enum { CRITERIA = sizeof criteria / sizeof *criteria };

const char *sort_parse_program(struct parser *p, struct sort_program *program) {
    *program = (struct sort_program){0};
    if (!parse_char(p, '(')) return "SORT requires a list of criteria";
    do {
        struct slice name;
        size_t i = 0;
        bool reverse = parse_word(p, "REVERSE");
        if (reverse && !parse_space(p)) return "REVERSE requires a criterion";
        if (!parse_atom(p, &name)) return "SORT requires a list of criteria";
        while (i < CRITERIA && !slice_is_nocase(name, criteria[i].name)) i++;
        if (i == CRITERIA) return "Unknown sort criterion";
        if (program->count == LIMIT_SORT_KEYS) return "SORT accepts at most 16 criteria";
        program->keys[program->count].by = criteria[i].by;
        program->keys[program->count++].reverse = reverse;
        program->needs_header |= criteria[i].by > SORT_SIZE;
    } while (parse_space(p));
    return parse_char(p, ')') ? NULL : "SORT requires a list of criteria";
}

int64_t sort_sent_date(struct slice header, int64_t internal_date) {
    struct header_field f;
    struct date date;
    return header_find(header, "Date", &f) && date_parse(f.value, &date) == 0 ? date.seconds : internal_date;
}

enum { ADDRESSES = 4 }; /* address_parse needs room for a group */

/* addr-mailbox of the first address; for display, its name or mailbox@host (RFC 5957 §3). */
static void add_first_address(struct slice header, const char *field, bool display, struct buf *out) {
    struct header_field f;
    struct address *address;
    if (!header_find(header, field, &f)) return;
    struct arena *arena = arena_create();
    if (address_parse(arena, f.value, ADDRESSES, &address)) {
        bool group = address->kind == ADDRESS_GROUP_BEGIN; /* an ENVELOPE has its name as addr-mailbox */
        if (display && !group && address->name.n) encoded_word_decode(address->name, out);
        if (!out->n) {
            buf_add_slice(out, group ? address->name : address->local);
            if (display && !group && address->domain.n) {
                buf_add_char(out, '@');
                buf_add_slice(out, address->domain);
            }
        }
    }
    arena_destroy(arena);
}

static void add_text(struct slice header, enum sort_by by, struct buf *out) {
    struct header_field f;
    switch (by) {
    case SORT_SUBJECT:
        if (header_find(header, "Subject", &f)) base_subject(f.value, out);
        break;
    case SORT_FROM: add_first_address(header, "From", false, out); break;
    case SORT_TO: add_first_address(header, "To", false, out); break;
    case SORT_CC: add_first_address(header, "Cc", false, out); break;
    case SORT_DISPLAY_FROM: add_first_address(header, "From", true, out); break;
    case SORT_DISPLAY_TO: add_first_address(header, "To", true, out); break;
    case SORT_ARRIVAL:
    case SORT_SIZE:
    case SORT_DATE: break;
    }
}

void sort_make_entry(struct arena *arena, const struct sort_program *program, const struct mailbox_record *r,
                     struct slice header, struct sort_entry *out) {
    struct buf text = {0}, mapped = {0};
    out->uid = r->uid;
    out->values = arena_alloc(arena, program->count * sizeof *out->values);
    for (size_t i = 0; i < program->count; i++) {
        struct sort_value *value = &out->values[i];
        switch (program->keys[i].by) {
        case SORT_ARRIVAL: value->number = r->date; break;
        case SORT_SIZE: value->number = r->size; break;
        case SORT_DATE: value->number = sort_sent_date(header, r->date); break;
        default:
            buf_reset(&text);
            buf_reset(&mapped);
            add_text(header, program->keys[i].by, &text);
            unicode_casemap(slice_head(buf_slice(&text), LIMIT_SORT_TEXT), &mapped);
            value->bytes = arena_slice(arena, buf_slice(&mapped));
            break;
        }
    }
    buf_free(&text);
    buf_free(&mapped);
}

static int compare_bytes(struct slice a, struct slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

int sort_compare(const struct sort_program *program, const struct sort_entry *a, const struct sort_entry *b) {
    for (size_t i = 0; i < program->count; i++) {
        const struct sort_value *x = &a->values[i], *y = &b->values[i];
        int order = (x->number > y->number) - (x->number < y->number);
        if (!order) order = compare_bytes(x->bytes, y->bytes);
        if (order) return program->keys[i].reverse ? -order : order;
    }
    return (a->uid > b->uid) - (a->uid < b->uid);
}

static int compare(const void *left, const void *right, void *ctx) { return sort_compare(ctx, left, right); }

void sort_entries(const struct sort_program *program, size_t count, struct sort_entry entries[]) {
    if (count > 1) qsort_r(entries, count, sizeof *entries, compare, (void *)program);
}
