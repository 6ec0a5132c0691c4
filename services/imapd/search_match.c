/* Evaluates search keys for a message. Texts are compared case-insensitively for ASCII, after decoding encoded words and
 * transfer encodings. */
#include "libcommon/mail/date.h"
#include "libcommon/mail/encoded_word.h"
#include "libcommon/mail/header.h"
#include "libcommon/mail/mime.h"
#include "services/imapd/search.h"

enum { DAY = 86400 };

static bool contains(struct slice hay, struct slice needle) {
    if (!needle.n) return true;
    if (needle.n > hay.n) return false;
    char first = needle.p[0], upper = first >= 'a' && first <= 'z' ? (char)(first & ~0x20) : first;
    for (size_t i = 0; i + needle.n <= hay.n; i++)
        if ((hay.p[i] == first || hay.p[i] == upper) && strncasecmp(hay.p + i, needle.p, needle.n) == 0) return true;
    return false;
}

static bool field_has(struct slice value, struct slice text) {
    struct buf unfolded = {0}, decoded = {0};
    header_unfold(value, &unfolded);
    encoded_word_decode(buf_slice(&unfolded), &decoded);
    bool has = contains(buf_slice(&decoded), text) || contains(buf_slice(&unfolded), text);
    buf_free(&unfolded);
    buf_free(&decoded);
    return has;
}

static bool header_has(struct slice header, struct slice name, struct slice text) {
    struct header_field f;
    size_t at = 0;
    while (header_next(header, &at, &f) == 1)
        if ((!name.n || slice_equal_nocase(f.name, name)) && field_has(f.value, text)) return true;
    return false;
}

static bool body_has(struct slice message, struct slice text) {
    struct arena *arena = arena_create();
    struct mime *m = mime_parse(arena, message);
    struct buf decoded = {0};
    bool has = false;
    for (uint32_t i = 0; i < m->count && !has; i++) {
        if (m->parts[i].is_multipart || m->parts[i].is_message ||
            !(slice_is_nocase(m->parts[i].type, "text") || !m->parts[i].type.n))
            continue;
        buf_reset(&decoded);
        has = mime_decode_body(m, i, &decoded) == 0 ? contains(buf_slice(&decoded), text)
                                                    : contains(mime_body(m, i), text);
    }
    buf_free(&decoded);
    arena_destroy(arena);
    return has;
}

/* The day of the Date field as written, without time and zone (RFC 9051 §6.4.4 SENTON). */
static bool sent_day(struct slice header, int64_t *day) {
    struct header_field f;
    struct date date;
    if (!header_find(header, "Date", &f) || date_parse(f.value, &date) != 0) return false;
    *day = date_days(date.year, date.month, date.day) * DAY;
    return true;
}

static bool keyword_fits(const struct search_message *m, struct slice keyword) {
    for (size_t i = 0; i < m->view->keyword_count; i++)
        if (slice_equal_nocase(keyword, slice_of(m->view->keywords[i])))
            return m->record->flags >> (MAILBOX_KEYWORD_SHIFT + i) & 1;
    return false;
}

static bool sent_fits(const struct search_key *key, const struct search_message *m) {
    int64_t day, wanted = (int64_t)key->number;
    if (!sent_day(m->header, &day)) return false;
    return key->kind == SEARCH_SENT_BEFORE ? day < wanted : key->kind == SEARCH_SENT_ON ? day == wanted : day >= wanted;
}

bool search_fits(const struct search_key *key, const struct search_message *m) {
    const struct mailbox_record *r = m->record;
    int64_t day = (int64_t)key->number;
    switch (key->kind) {
    case SEARCH_AND:
        for (const struct search_key *k = key->children; k; k = k->next)
            if (!search_fits(k, m)) return false;
        return true;
    case SEARCH_OR: return search_fits(key->children, m) || search_fits(key->children->next, m);
    case SEARCH_NOT: return !search_fits(key->children, m);
    case SEARCH_ALL: return true;
    case SEARCH_NEVER: return false;
    case SEARCH_FLAG: return (r->flags & key->number) == key->number;
    case SEARCH_KEYWORD: return keyword_fits(m, key->text);
    case SEARCH_SEQUENCE: return set_has(&key->set, (uint32_t)view_sequence(m->view, r));
    case SEARCH_UID: return set_has(&key->set, r->uid);
    case SEARCH_BEFORE: return r->date < day;
    case SEARCH_ON: return r->date >= day && r->date < day + DAY;
    case SEARCH_SINCE: return r->date >= day;
    case SEARCH_SENT_BEFORE:
    case SEARCH_SENT_ON:
    case SEARCH_SENT_SINCE: return sent_fits(key, m);
    case SEARCH_LARGER: return r->size > key->number;
    case SEARCH_SMALLER: return r->size < key->number;
    case SEARCH_MODSEQ: return r->modseq >= key->number;
    case SEARCH_HEADER: return header_has(m->header, key->field, key->text);
    case SEARCH_BODY: return body_has(m->message, key->text);
    case SEARCH_TEXT: return header_has(m->header, SLICE(""), key->text) || body_has(m->message, key->text);
    }
    return false;
}
