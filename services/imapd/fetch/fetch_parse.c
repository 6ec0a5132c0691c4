#include "services/imapd/fetch/fetch.h"
#include "services/imapd/write.h"

static const struct {
    const char *name;
    enum section_text text;
} section_texts[] = {{"HEADER", SECTION_HEADER},
                     {"HEADER.FIELDS", SECTION_HEADER_FIELDS},
                     {"HEADER.FIELDS.NOT", SECTION_HEADER_FIELDS_NOT},
                     {"TEXT", SECTION_TEXT},
                     {"MIME", SECTION_MIME}};
enum { SECTION_TEXTS = sizeof section_texts / sizeof *section_texts };

static bool parse_names(struct parser *p, struct section *section) {
    section->names = arena_alloc(p->arena, LIMIT_HEADER_NAMES * sizeof *section->names);
    if (!parse_space(p) || !parse_char(p, '(')) return false;
    do {
        if (section->name_count == LIMIT_HEADER_NAMES || !parse_astring(p, &section->names[section->name_count]))
            return false;
        section->name_count++;
    } while (parse_space(p));
    return parse_char(p, ')');
}

bool parse_section(struct parser *p, struct section *section) {
    struct slice word;
    *section = (struct section){0};
    if (!parse_char(p, '[')) return false;
    if (parse_char(p, ']')) return true;
    for (;;) {
        uint32_t n;
        if (!parse_u32(p, &n)) break;
        if (!n || section->depth == LIMIT_SECTION_DEPTH) return false;
        section->path[section->depth++] = n;
        if (parse_char(p, ']')) return true;
        if (!parse_char(p, '.')) return false;
    }
    if (!parse_atom(p, &word)) return false;
    size_t i = 0;
    while (i < SECTION_TEXTS && !slice_is_nocase(word, section_texts[i].name)) i++;
    if (i == SECTION_TEXTS) return false;
    section->text = section_texts[i].text;
    if (section->text == SECTION_MIME && !section->depth) return false;
    if ((section->text == SECTION_HEADER_FIELDS || section->text == SECTION_HEADER_FIELDS_NOT) &&
        !parse_names(p, section))
        return false;
    return parse_char(p, ']');
}

/* "<offset.length>" */
static bool parse_partial(struct parser *p, struct fetch_item *item) {
    if (!parse_char(p, '<')) return true;
    item->partial = true;
    return parse_u32(p, &item->offset) && parse_char(p, '.') && parse_u32(p, &item->length) && item->length &&
           parse_char(p, '>');
}

static void make_label(struct parser *p, struct fetch_item *item) {
    static const char *const prefix[] = {
        [FETCH_SECTION] = "BODY[", [FETCH_BINARY] = "BINARY[", [FETCH_BINARY_SIZE] = "BINARY.SIZE["};
    const struct section *section = &item->section;
    struct buf label = {0};
    buf_add_str(&label, prefix[item->kind]);
    for (size_t i = 0; i < section->depth; i++) buf_printf(&label, i ? ".%u" : "%u", section->path[i]);
    for (size_t i = 0; i < SECTION_TEXTS; i++)
        if (section->text == section_texts[i].text)
            buf_printf(&label, "%s%s", section->depth ? "." : "", section_texts[i].name);
    for (size_t i = 0; i < section->name_count; i++) {
        buf_add_str(&label, i ? " " : " (");
        write_astring(&label, section->names[i], false);
    }
    buf_add_str(&label, section->name_count ? ")]" : "]");
    if (item->partial) buf_printf(&label, "<%u>", item->offset);
    item->label = arena_slice(p->arena, buf_slice(&label));
    buf_free(&label);
}

static struct fetch_item *add(struct fetch_items *items, enum fetch_kind kind) {
    if (items->count == LIMIT_FETCH_ITEMS) return NULL;
    struct fetch_item *item = &items->items[items->count++];
    *item = (struct fetch_item){.kind = kind};
    return item;
}

static bool parse_bracketed(struct parser *p, struct fetch_items *items, enum fetch_kind kind, bool peek) {
    struct fetch_item *item = add(items, kind);
    if (!item || !parse_section(p, &item->section)) return false;
    item->peek = peek || kind == FETCH_BINARY_SIZE;
    if (kind != FETCH_SECTION && item->section.text != SECTION_ALL) return false;
    if (kind != FETCH_BINARY_SIZE && !parse_partial(p, item)) return false;
    make_label(p, item);
    return true;
}

static bool add_rfc822(struct fetch_items *items, const char *label, enum section_text text, bool peek) {
    struct fetch_item *item = add(items, FETCH_SECTION);
    if (!item) return false;
    item->section.text = text;
    item->peek = peek;
    item->label = slice_of(label);
    return true;
}

/* "PREVIEW (LAZY)": a preview is always there at once (RFC 8970 §3.1). */
static bool parse_preview_modifiers(struct parser *p) {
    if (p->end - p->p < 2 || p->p[0] != ' ' || p->p[1] != '(') return true;
    p->p += 2;
    return parse_word(p, "LAZY") && parse_char(p, ')');
}

static bool is_name_char(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
}

static bool parse_item(struct parser *p, struct fetch_items *items) {
    static const struct {
        const char *name;
        enum fetch_kind kind;
    } plain[] = {{"UID", FETCH_UID},
                 {"FLAGS", FETCH_FLAGS},
                 {"INTERNALDATE", FETCH_INTERNALDATE},
                 {"RFC822.SIZE", FETCH_SIZE},
                 {"MODSEQ", FETCH_MODSEQ},
                 {"ENVELOPE", FETCH_ENVELOPE},
                 {"BODYSTRUCTURE", FETCH_BODYSTRUCTURE},
                 {"EMAILID", FETCH_EMAILID},
                 {"THREADID", FETCH_THREADID},
                 {"SAVEDATE", FETCH_SAVEDATE}};
    struct slice name = {p->p, 0};
    while (p->p < p->end && is_name_char(*p->p)) p->p++, name.n++;
    if (parse_peek(p) == '[') {
        if (slice_is_nocase(name, "BODY")) return parse_bracketed(p, items, FETCH_SECTION, false);
        if (slice_is_nocase(name, "BODY.PEEK")) return parse_bracketed(p, items, FETCH_SECTION, true);
        if (slice_is_nocase(name, "BINARY")) return parse_bracketed(p, items, FETCH_BINARY, false);
        if (slice_is_nocase(name, "BINARY.PEEK")) return parse_bracketed(p, items, FETCH_BINARY, true);
        if (slice_is_nocase(name, "BINARY.SIZE")) return parse_bracketed(p, items, FETCH_BINARY_SIZE, true);
        return false;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (slice_is_nocase(name, plain[i].name)) return add(items, plain[i].kind) != NULL;
    if (slice_is_nocase(name, "PREVIEW")) return add(items, FETCH_PREVIEW) && parse_preview_modifiers(p);
    if (slice_is_nocase(name, "BODY")) return add(items, FETCH_BODY) != NULL;
    if (slice_is_nocase(name, "RFC822")) return add_rfc822(items, "RFC822", SECTION_ALL, false);
    if (slice_is_nocase(name, "RFC822.HEADER")) return add_rfc822(items, "RFC822.HEADER", SECTION_HEADER, true);
    if (slice_is_nocase(name, "RFC822.TEXT")) return add_rfc822(items, "RFC822.TEXT", SECTION_TEXT, false);
    return false;
}

bool parse_fetch_items(struct parser *p, struct fetch_items *items) {
    *items = (struct fetch_items){.items = arena_alloc(p->arena, (LIMIT_FETCH_ITEMS + 1) * sizeof *items->items)};
    bool all = parse_word(p, "ALL"), full = !all && parse_word(p, "FULL");
    if (all || full || parse_word(p, "FAST")) { /* a macro must be the only item */
        add(items, FETCH_FLAGS);
        add(items, FETCH_INTERNALDATE);
        add(items, FETCH_SIZE);
        if (all || full) add(items, FETCH_ENVELOPE);
        if (full) add(items, FETCH_BODY);
        return true;
    }
    if (!parse_char(p, '(')) return parse_item(p, items);
    do
        if (!parse_item(p, items)) return false;
    while (parse_space(p));
    return parse_char(p, ')');
}

static bool is_cached_fields(const struct section *section) {
    if (section->depth || section->text != SECTION_HEADER_FIELDS) return false;
    for (size_t i = 0; i < section->name_count; i++)
        if (!mailbox_header_is_cached(section->names[i])) return false;
    return true;
}

static void needs_message(struct fetch_items *items, const struct fetch_item *item) {
    bool range =
        item->kind == FETCH_SECTION && item->partial && !item->section.depth && item->section.text == SECTION_ALL;
    items->range = range && !items->needs_message ? item : NULL;
    items->needs_message = true;
}

void fetch_plan(struct fetch_items *items) {
    for (size_t i = 0; i < items->count; i++) {
        const struct fetch_item *item = &items->items[i];
        switch (item->kind) {
        case FETCH_UID: items->has_uid = true; break;
        case FETCH_FLAGS: items->has_flags = true; break;
        case FETCH_MODSEQ: items->has_modseq = true; break;
        case FETCH_ENVELOPE: items->columns |= MAILBOX_ENVELOPE; break;
        case FETCH_BODY:
        case FETCH_BODYSTRUCTURE: items->columns |= MAILBOX_STRUCTURE; break;
        case FETCH_PREVIEW: items->columns |= MAILBOX_PREVIEW; break;
        case FETCH_SECTION:
        case FETCH_BINARY:
        case FETCH_BINARY_SIZE:
            if (item->kind == FETCH_SECTION && is_cached_fields(&item->section))
                items->columns |= MAILBOX_HEADER;
            else
                needs_message(items, item);
            items->sets_seen |= !item->peek;
            break;
        case FETCH_INTERNALDATE:
        case FETCH_EMAILID:
        case FETCH_THREADID:
        case FETCH_SAVEDATE:
        case FETCH_SIZE: break;
        }
    }
}

size_t fetch_next_batch(size_t asked, size_t bytes) {
    size_t each = asked ? bytes / asked + 1 : 1, fit = LIMIT_CACHED_BYTES / each, twice = asked * 2;
    size_t next = fit < twice ? fit : twice;
    return next < 1 ? 1 : next > LIMIT_CACHED_BATCH ? LIMIT_CACHED_BATCH : next;
}
