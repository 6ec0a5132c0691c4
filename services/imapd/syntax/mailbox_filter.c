#include "services/imapd/syntax/mailbox_filter.h"

static bool take_name(struct session *s, struct parser *p, struct mailbox_filter *f) {
    struct slice wire, name;
    if (f->count == LIMIT_FILTER_NAMES || !parse_astring(p, &wire)) return false;
    if (name_from_client(s, wire, &name) && name.n) f->names[f->count++] = name;
    return true;
}

/* "a" or "(a b)" */
static bool take_names(struct session *s, struct parser *p, struct mailbox_filter *f) {
    f->names = arena_alloc(s->arena, LIMIT_FILTER_NAMES * sizeof *f->names);
    if (!parse_char(p, '(')) return take_name(s, p, f);
    do
        if (!take_name(s, p, f)) return false;
    while (parse_space(p));
    return parse_char(p, ')');
}

bool parse_mailbox_filter(struct session *s, struct parser *p, struct mailbox_filter *f) {
    static const struct {
        const char *word;
        enum mailbox_filter_kind kind;
        bool names;
    } kinds[] = {{"selected", FILTER_SELECTED, false},      {"selected-delayed", FILTER_SELECTED_DELAYED, false},
                 {"inboxes", FILTER_INBOXES, false},        {"personal", FILTER_PERSONAL, false},
                 {"subscribed", FILTER_SUBSCRIBED, false},  {"subtree", FILTER_SUBTREE, true},
                 {"subtree-one", FILTER_SUBTREE_ONE, true}, {"mailboxes", FILTER_MAILBOXES, true}};
    *f = (struct mailbox_filter){0};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!parse_word(p, kinds[i].word)) continue;
        f->kind = kinds[i].kind;
        return !kinds[i].names || (parse_space(p) && take_names(s, p, f));
    }
    return false;
}

static bool is_below(struct slice parent, struct slice name, bool one) {
    if (name.n <= parent.n || name.p[parent.n] != '/' || !slice_starts(name, parent)) return false;
    return !one || !memchr(name.p + parent.n + 1, '/', name.n - parent.n - 1);
}

bool mailbox_filter_has(const struct mailbox_filter *f, struct slice name, bool subscribed) {
    if (f->kind == FILTER_INBOXES || f->kind == FILTER_PERSONAL) return true;
    if (f->kind == FILTER_SUBSCRIBED) return subscribed;
    for (size_t i = 0; i < f->count; i++) {
        if (slice_equal(f->names[i], name)) return true;
        if (f->kind != FILTER_MAILBOXES && is_below(f->names[i], name, f->kind == FILTER_SUBTREE_ONE)) return true;
    }
    return false;
}
