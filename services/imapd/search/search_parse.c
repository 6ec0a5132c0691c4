/* The grammar of search keys (RFC 9051 §9 search-key; RFC 3501 for OLD, NEW, RECENT). Depth and
 * number are bounded. */
#include "libcommon/base/clock.h"
#include "services/imapd/search/search.h"
#include "services/imapd/search/search_text.h"

struct context {
    struct session *session;
    const struct view *view;
    struct search *search;
};

static const char *parse_key(struct context *c, struct parser *p, int depth, struct search_key **out);

static struct search_key *key_create(struct parser *p, enum search_kind kind) {
    struct search_key *k = arena_alloc(p->arena, sizeof *k);
    k->kind = kind;
    return k;
}

static void need(struct context *c, enum search_need n) {
    if (n > c->search->need) c->search->need = n;
}

static struct slice fold(struct parser *p, struct slice s) {
    struct buf folded = {0};
    text_fold(s, &folded);
    struct slice text = arena_slice(p->arena, buf_slice(&folded));
    buf_free(&folded);
    return text;
}

static void add_text(struct context *c, struct parser *p, struct search_key *k) {
    struct search *search = c->search;
    if (!search->texts) search->texts = arena_alloc(p->arena, LIMIT_SEARCH_KEYS * sizeof *search->texts);
    k->index = search->text_count++;
    search->texts[k->index] = k->text;
}

static struct search_key *negate(struct parser *p, struct search_key *k) {
    struct search_key *not = key_create(p, SEARCH_NOT);
    not->children = k;
    return not;
}

/* Keys without arguments. */
static struct search_key *parse_simple(struct context *c, struct parser *p) {
    static const struct {
        const char *word;
        enum search_kind kind;
        uint64_t bits;
        bool negated;
    } words[] = {{"ALL", SEARCH_ALL, 0, false},
                 {"SAVEDATESUPPORTED", SEARCH_ALL, 0, false}, /* by every folder (RFC 8514 §4.3) */
                 {"ANSWERED", SEARCH_FLAG, MAILBOX_ANSWERED, false},
                 {"DELETED", SEARCH_FLAG, MAILBOX_DELETED, false},
                 {"DRAFT", SEARCH_FLAG, MAILBOX_DRAFT, false},
                 {"FLAGGED", SEARCH_FLAG, MAILBOX_FLAGGED, false},
                 {"SEEN", SEARCH_FLAG, MAILBOX_SEEN, false},
                 {"UNANSWERED", SEARCH_FLAG, MAILBOX_ANSWERED, true},
                 {"UNDELETED", SEARCH_FLAG, MAILBOX_DELETED, true},
                 {"UNDRAFT", SEARCH_FLAG, MAILBOX_DRAFT, true},
                 {"UNFLAGGED", SEARCH_FLAG, MAILBOX_FLAGGED, true},
                 {"UNSEEN", SEARCH_FLAG, MAILBOX_SEEN, true},
                 {"OLD", SEARCH_RECENT, 0, true}, /* RFC 3501 §6.4.4 */
                 {"NEW", SEARCH_NEW, 0, false},
                 {"RECENT", SEARCH_RECENT, 0, false}};
    (void)c;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (parse_word(p, words[i].word)) {
            struct search_key *k = key_create(p, words[i].kind);
            k->number = words[i].bits;
            return words[i].negated ? negate(p, k) : k;
        }
    return NULL;
}

static enum search_need header_need(const struct search_key *k) {
    const struct mailbox_keys none = {0};
    if (!mailbox_header_is_cached(k->field)) return NEED_MESSAGE;
    /* An empty text asks whether there is such a field, which the keys do not tell. */
    return k->text.n && search_keys_field(&none, k->field) ? NEED_KEYS : NEED_HEADER;
}

/* Keys with a date, a number or a text. *bad: the key is known and its argument is invalid. */
static struct search_key *parse_with_argument(struct context *c, struct parser *p, bool *bad) {
    static const struct {
        const char *word;
        enum search_kind kind;
        char argument; /* d: date, n: number, s: seconds before now, t: text, a: an atom, f: field and text */
        const char *field;
        enum search_need need;
        bool negated;
    } words[] = {{"BEFORE", SEARCH_BEFORE, 'd', "", NEED_RECORD, false},
                 {"ON", SEARCH_ON, 'd', "", NEED_RECORD, false},
                 {"SINCE", SEARCH_SINCE, 'd', "", NEED_RECORD, false},
                 {"SAVEDBEFORE", SEARCH_SAVED_BEFORE, 'd', "", NEED_RECORD, false},
                 {"SAVEDON", SEARCH_SAVED_ON, 'd', "", NEED_RECORD, false},
                 {"SAVEDSINCE", SEARCH_SAVED_SINCE, 'd', "", NEED_RECORD, false},
                 {"EMAILID", SEARCH_EMAILID, 'a', "", NEED_RECORD, false},
                 {"THREADID", SEARCH_THREADID, 'a', "", NEED_RECORD, false},
                 {"SENTBEFORE", SEARCH_SENT_BEFORE, 'd', "", NEED_KEYS, false},
                 {"SENTON", SEARCH_SENT_ON, 'd', "", NEED_KEYS, false},
                 {"SENTSINCE", SEARCH_SENT_SINCE, 'd', "", NEED_KEYS, false},
                 {"OLDER", SEARCH_OLDER, 's', "", NEED_RECORD, false},
                 {"YOUNGER", SEARCH_YOUNGER, 's', "", NEED_RECORD, false},
                 {"LARGER", SEARCH_LARGER, 'n', "", NEED_RECORD, false},
                 {"SMALLER", SEARCH_SMALLER, 'n', "", NEED_RECORD, false},
                 {"KEYWORD", SEARCH_KEYWORD, 'a', "", NEED_RECORD, false},
                 {"UNKEYWORD", SEARCH_KEYWORD, 'a', "", NEED_RECORD, true},
                 {"FROM", SEARCH_HEADER, 't', "From", NEED_HEADER, false},
                 {"TO", SEARCH_HEADER, 't', "To", NEED_HEADER, false},
                 {"CC", SEARCH_HEADER, 't', "Cc", NEED_HEADER, false},
                 {"BCC", SEARCH_HEADER, 't', "Bcc", NEED_HEADER, false},
                 {"SUBJECT", SEARCH_HEADER, 't', "Subject", NEED_HEADER, false},
                 {"HEADER", SEARCH_HEADER, 'f', "", NEED_HEADER, false},
                 {"BODY", SEARCH_BODY, 't', "", NEED_MESSAGE, false},
                 {"TEXT", SEARCH_TEXT, 't', "", NEED_MESSAGE, false}};
    *bad = false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!parse_word(p, words[i].word)) continue;
        struct search_key *k = key_create(p, words[i].kind);
        int64_t day;
        uint64_t number;
        uint32_t seconds;
        struct slice text;
        *bad = true;
        if (!parse_space(p)) return NULL;
        switch (words[i].argument) {
        case 'd':
            if (!parse_date(p, &day)) return NULL;
            k->number = (uint64_t)day;
            break;
        case 'n':
            if (!parse_u64(p, &number)) return NULL;
            k->number = number;
            break;
        case 's': /* RFC 5032 §3: an interval, not 0 */
            if (!parse_u32(p, &seconds) || !seconds) return NULL;
            k->number = (uint64_t)(clock_wall_ms() / 1000 - seconds);
            break;
        case 'a':
            if (!parse_atom(p, &text)) return NULL;
            k->text = text;
            break;
        case 'f':
            if (!parse_astring(p, &k->field) || !parse_space(p) || !parse_astring(p, &text)) return NULL;
            k->text = fold(p, text);
            break;
        default:
            if (!parse_astring(p, &text)) return NULL;
            k->field = slice_of(words[i].field);
            k->text = fold(p, text);
            break;
        }
        *bad = false;
        if (k->kind == SEARCH_BODY || k->kind == SEARCH_TEXT) add_text(c, p, k);
        need(c, k->kind == SEARCH_HEADER ? header_need(k) : words[i].need);
        return words[i].negated ? negate(p, k) : k;
    }
    return NULL;
}

/* "MODSEQ [entry-name entry-type] n" (RFC 7162 §3.1.5). */
static struct search_key *parse_modseq(struct context *c, struct parser *p) {
    struct slice entry;
    struct search_key *k = key_create(p, SEARCH_MODSEQ);
    if (!parse_space(p)) return NULL;
    if (parse_peek(p) == '"') {
        if (!parse_string(p, &entry) || !parse_space(p) ||
            !(parse_word(p, "all") || parse_word(p, "priv") || parse_word(p, "shared")) || !parse_space(p))
            return NULL;
    }
    if (!parse_u64(p, &k->number)) return NULL;
    c->search->has_modseq = true;
    return k;
}

static struct search_key *parse_numbers(struct context *c, struct parser *p, enum search_kind kind) {
    struct search_key *k = key_create(p, kind);
    const struct view *v = c->view;
    size_t saved = v == &c->session->view ? c->session->saved_count : 0;
    if (!parse_set(p, &k->set)) return NULL;
    if (k->set.saved) { /* "$" has uids (RFC 5182) */
        k->kind = SEARCH_UID;
        k->set.count = 0;
        k->set.ranges = arena_alloc(p->arena, (saved + 1) * sizeof *k->set.ranges);
        for (size_t i = 0; i < saved; i++)
            k->set.ranges[k->set.count++] = (struct range){c->session->saved[i], c->session->saved[i]};
    }
    uint32_t largest_uid = view_last_uid(v);
    set_resolve(&k->set, k->kind == SEARCH_UID ? largest_uid : (uint32_t)v->count);
    return k;
}

/* Keys separated by spaces, as one AND, up to `end` (')' or 0 for the command's end). */
static const char *parse_list(struct context *c, struct parser *p, int depth, bool in_parentheses,
                              struct search_key **out) {
    struct search_key *and = key_create(p, SEARCH_AND), **last = &and->children;
    do {
        const char *wrong = parse_key(c, p, depth, last);
        if (wrong) return wrong;
        last = &(*last)->next;
    } while (parse_space(p));
    if (in_parentheses && !parse_char(p, ')')) return "unclosed parenthesis";
    *out = and;
    return NULL;
}

static const char *parse_key(struct context *c, struct parser *p, int depth, struct search_key **out) {
    const char *wrong;
    bool bad;
    if (depth > LIMIT_SEARCH_DEPTH) return "the search is nested too deep";
    if (++c->search->key_count > LIMIT_SEARCH_KEYS) return "the search has too many keys";
    if (parse_char(p, '(')) return parse_list(c, p, depth + 1, true, out);
    if (parse_word(p, "NOT")) {
        *out = key_create(p, SEARCH_NOT);
        return parse_space(p) ? parse_key(c, p, depth + 1, &(*out)->children) : "NOT requires a search key";
    }
    if (parse_word(p, "OR")) {
        *out = key_create(p, SEARCH_OR);
        if (!parse_space(p)) return "OR requires two search keys";
        if ((wrong = parse_key(c, p, depth + 1, &(*out)->children))) return wrong;
        return parse_space(p) ? parse_key(c, p, depth + 1, &(*out)->children->next) : "OR requires two search keys";
    }
    if ((*out = parse_simple(c, p))) return NULL;
    if ((*out = parse_with_argument(c, p, &bad))) return NULL;
    if (bad) return "invalid argument of a search key";
    if (parse_word(p, "MODSEQ")) return (*out = parse_modseq(c, p)) ? NULL : "MODSEQ requires a number";
    if (parse_word(p, "UID"))
        return parse_space(p) && (*out = parse_numbers(c, p, SEARCH_UID)) ? NULL : "UID requires a set of numbers";
    if ((*out = parse_numbers(c, p, SEARCH_SEQUENCE)))
        return c->session->uidonly && (*out)->kind == SEARCH_SEQUENCE ? UID_REQUIRED : NULL;
    return "unknown search key";
}

const char *parse_search(struct parser *p, struct session *s, struct search *out) {
    return parse_search_in(p, s, &s->view, out);
}

const char *parse_search_in(struct parser *p, struct session *s, const struct view *view, struct search *out) {
    struct context c = {.session = s, .view = view, .search = out};
    const char *wrong = parse_list(&c, p, 0, false, &out->root);
    return wrong ? wrong : parse_end(p) ? NULL : "unexpected text after the search keys";
}
