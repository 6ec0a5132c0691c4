#include "libcommon/mail/address.h"

/* The value that is read, and the buffers for its texts: one for words, one for comments, each as
 * long as the value, because every byte is copied at most once. */
struct reader {
    struct slice s;
    size_t at;
    char *text, *comments;
    size_t used, comments_used;
    struct slice comment; /* the last one */
};

static char peek(const struct reader *r) { return r->at < r->s.n ? r->s.p[r->at] : '\0'; }
static bool is_end(const struct reader *r) { return r->at >= r->s.n; }
static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
/* Whether the next byte is one of these; never at the end (strchr finds a NUL everywhere). */
static bool is_next(const struct reader *r, const char *bytes) {
    return !is_end(r) && peek(r) && strchr(bytes, peek(r));
}

static void put(struct reader *r, char c) { r->text[r->used++] = c; }

/* A comment without its outer parentheses and folds; nesting is counted, without recursion. */
static void read_comment(struct reader *r) {
    size_t depth = 0, from = r->comments_used;
    for (; !is_end(r); r->at++) {
        char c = r->s.p[r->at];
        if (c == '(' && depth++ == 0) continue;
        if (c == ')' && --depth == 0) {
            r->at++;
            break;
        }
        if (c == '\\' && r->at + 1 < r->s.n) c = r->s.p[++r->at];
        if (c != '\r' && c != '\n') r->comments[r->comments_used++] = c;
    }
    r->comment = slice_trim(slice_make(r->comments + from, r->comments_used - from));
}

static void skip_space(struct reader *r) {
    while (!is_end(r)) {
        if (is_space(peek(r)))
            r->at++;
        else if (peek(r) == '(')
            read_comment(r);
        else
            return;
    }
}

/* A quoted string without its quotes, or all up to a special (dots are part of it). Takes at least
 * one byte. */
static void read_word(struct reader *r) {
    if (peek(r) != '"') {
        do put(r, r->s.p[r->at++]);
        while (!is_end(r) && !is_space(peek(r)) && !is_next(r, "()<>@,;:\""));
        return;
    }
    for (r->at++; !is_end(r) && peek(r) != '"'; r->at++) {
        if (peek(r) == '\\' && r->at + 1 < r->s.n) r->at++;
        if (peek(r) != '\r' && peek(r) != '\n') put(r, peek(r));
    }
    if (!is_end(r)) r->at++;
}

/* Words up to a special, with one space between words that were separated. */
static struct slice read_words(struct reader *r) {
    size_t from = r->used;
    skip_space(r);
    while (!is_end(r) && !is_next(r, "<>@,;:")) {
        read_word(r);
        size_t before = r->at;
        skip_space(r);
        if (r->at > before && !is_end(r) && !is_next(r, "<>@,;:")) put(r, ' ');
    }
    return slice_trim(slice_make(r->text + from, r->used - from));
}

/* A domain or an address literal; white space and comments are allowed around its dots only (RFC
 * 5322 §4.4). */
static struct slice read_domain(struct reader *r) {
    size_t from = r->used;
    skip_space(r);
    while (!is_end(r) && !is_next(r, "<>@,;:")) {
        if (peek(r) == '[') {
            while (!is_end(r) && peek(r) != ']') {
                if (!is_space(peek(r))) put(r, peek(r));
                r->at++;
            }
            if (is_end(r)) break;
        }
        put(r, r->s.p[r->at++]);
        size_t before = r->at;
        skip_space(r);
        if (r->at > before && peek(r) != '.' && r->text[r->used - 1] != '.') break;
    }
    return slice_make(r->text + from, r->used - from);
}

/* After "<": [route ":"] local "@" domain ">". */
static void read_angle(struct reader *r, struct address *a) {
    skip_space(r);
    if (peek(r) == '@') {
        size_t from = r->at;
        while (!is_end(r) && !is_next(r, ":>")) r->at++;
        a->route = slice_trim(slice_make(r->s.p + from, r->at - from));
        if (peek(r) == ':') r->at++;
    }
    a->local = read_words(r);
    while (is_next(r, ",;:<")) r->at++; /* these are not allowed here */
    if (peek(r) == '@') {
        r->at++;
        a->domain = read_domain(r);
    }
    while (!is_end(r) && !is_next(r, ">,")) r->at++;
    if (peek(r) == '>') r->at++;
}

/* One entry; false when there was nothing but punctuation. */
static bool read_entry(struct reader *r, bool *in_group, struct address *a) {
    *a = (struct address){.kind = ADDRESS_MAILBOX};
    r->comment = SLICE("");
    struct slice words = read_words(r);
    char special = peek(r);
    if (special == ':' && !is_end(r)) {
        r->at++;
        a->kind = ADDRESS_GROUP_BEGIN;
        a->name = words;
        bool nested = *in_group; /* groups do not nest: the inner name is dropped, its members
                                    stay */
        *in_group = true;
        return !nested;
    }
    if (special == '<') {
        r->at++;
        a->name = words;
        read_angle(r, a);
    } else {
        a->local = words;
        if (special == '@') {
            r->at++;
            a->domain = read_domain(r);
        } else if (special == '>') {
            r->at++;
        }
    }
    skip_space(r);
    if (a->name.n == 0) a->name = r->comment;
    return a->local.n || a->domain.n || special == '<';
}

size_t address_parse(struct arena *arena, struct slice value, size_t max, struct address **out) {
    struct reader r = {
        .s = value, .text = arena_alloc(arena, value.n + 1), .comments = arena_alloc(arena, value.n + 1)};
    struct address *list = arena_alloc(arena, 4 * sizeof *list);
    size_t count = 0, room = 4;
    bool in_group = false;
    for (skip_space(&r); !is_end(&r) && count + 2 < max; skip_space(&r)) {
        struct address a;
        if (count + 3 > room) {
            struct address *more = arena_alloc(arena, room * 2 * sizeof *more);
            memcpy(more, list, count * sizeof *list);
            list = more;
            room *= 2;
        }
        size_t before = r.at;
        if (read_entry(&r, &in_group, &a)) list[count++] = a;
        if (is_next(&r, ",")) {
            r.at++;
        } else if (is_next(&r, ";")) {
            r.at++;
            if (in_group) list[count++] = (struct address){.kind = ADDRESS_GROUP_END};
            in_group = false;
        }
        if (r.at == before) r.at++;
    }
    if (in_group) list[count++] = (struct address){.kind = ADDRESS_GROUP_END};
    *out = list;
    return count;
}
