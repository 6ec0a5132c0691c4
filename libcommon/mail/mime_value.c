/* Structured header values with parameters: RFC 2045 §5.1, RFC 2183, RFC 2231. */
#include <ctype.h>

#include "libcommon/mail/mime.h"

/* Skips white space, folds and comments (RFC 5322 §3.2.2; nesting is counted, without
 * recursion). */
static void skip_space(struct slice s, size_t *at) {
    while (*at < s.n) {
        char c = s.p[*at];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            ++*at;
        } else if (c == '(') {
            size_t depth = 0;
            for (; *at < s.n; ++*at) {
                c = s.p[*at];
                if (c == '\\') {
                    ++*at;
                } else if (c == '(') {
                    depth++;
                } else if (c == ')' && --depth == 0) {
                    ++*at;
                    break;
                }
            }
            if (*at > s.n) *at = s.n;
        } else {
            return;
        }
    }
}

static bool is_token(char c) { return (unsigned char)c > ' ' && c != 0x7f && !strchr("()<>@,;:\\\"/[]?=", c); }

static struct slice token(struct slice s, size_t *at) {
    size_t from = *at;
    while (*at < s.n && is_token(s.p[*at])) ++*at;
    return slice_make(s.p + from, *at - from);
}

bool mime_read_type(struct slice value, struct slice *type, struct slice *subtype) {
    size_t at = 0;
    skip_space(value, &at);
    struct slice first = token(value, &at);
    skip_space(value, &at);
    if (first.n == 0 || at >= value.n || value.p[at] != '/') return false;
    at++;
    skip_space(value, &at);
    struct slice second = token(value, &at);
    if (second.n == 0) return false;
    *type = first;
    *subtype = second;
    return true;
}

/* A quoted string's text (the opening quote is at *at), or, without quotes, the text up to the next
 * ";" or white space: many senders omit quotes that are required. */
static struct slice parameter_value(struct arena *arena, struct slice s, size_t *at) {
    if (*at < s.n && s.p[*at] == '"') {
        char *text = arena_alloc(arena, s.n - *at);
        size_t n = 0;
        for (++*at; *at < s.n && s.p[*at] != '"'; ++*at) {
            char c = s.p[*at];
            if (c == '\\' && *at + 1 < s.n) c = s.p[++*at];
            if (c != '\r' && c != '\n') text[n++] = c;
        }
        if (*at < s.n) ++*at;
        return slice_make(text, n);
    }
    size_t from = *at;
    while (*at < s.n && s.p[*at] != ';' && (unsigned char)s.p[*at] > ' ') ++*at;
    return slice_make(s.p + from, *at - from);
}

/* Moves behind the next ";" outside quotes; false at the end. */
static bool next_parameter(struct slice s, size_t *at) {
    bool quoted = false;
    for (; *at < s.n; ++*at) {
        char c = s.p[*at];
        if (c == '"') quoted = !quoted;
        if (c == '\\' && quoted) ++*at;
        if (c == ';' && !quoted) {
            ++*at;
            return true;
        }
    }
    return false;
}

void mime_read_value_raw(struct arena *arena, struct slice value, struct mime_value *out) {
    size_t at = 0;
    memset(out, 0, sizeof *out);
    skip_space(value, &at);
    size_t from = at;
    if (token(value, &at).n == 0) return;
    size_t end = at;
    skip_space(value, &at);
    if (at < value.n && value.p[at] == '/') {
        at++;
        skip_space(value, &at);
        token(value, &at);
        end = at;
    }
    out->word = slice_make(value.p + from, end - from);
    while (out->count < MIME_PARAMETERS_MAX && next_parameter(value, &at)) {
        skip_space(value, &at);
        struct slice name = token(value, &at);
        skip_space(value, &at);
        if (name.n == 0 || at >= value.n || value.p[at] != '=') continue;
        at++;
        skip_space(value, &at);
        struct mime_parameter *p = &out->parameters[out->count++];
        p->name = name;
        p->value = parameter_value(arena, value, &at);
    }
}

/* "name*3*": its name, piece (-1: none) and whether the value is percent-encoded (RFC 2231 §3,
 * §4). */
struct piece {
    struct slice name;
    int number;
    bool encoded;
};

static struct piece piece_of(struct slice name) {
    struct piece p = {name, -1, false};
    ptrdiff_t star = slice_find(name, '*');
    if (star < 0) return p;
    struct slice rest = slice_skip(name, (size_t)star + 1);
    uint64_t number;
    p.name.n = (size_t)star;
    if (rest.n == 0 || rest.p[rest.n - 1] == '*') {
        p.encoded = true;
        if (rest.n) rest.n--;
        if (rest.n == 0) return p;
    }
    if (slice_to_u64(rest, MIME_PARAMETERS_MAX, &number) == 0)
        p.number = (int)number;
    else
        p = (struct piece){name, -1, false};
    return p;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t percent_decode(struct slice s, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? hex(s.p[i + 1]) : -1, low = high >= 0 ? hex(s.p[i + 2]) : -1;
        if (low >= 0) {
            out[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = s.p[i];
        }
    }
    return n;
}

/* Puts the pieces of one parameter together. Missing pieces end it. */
static void join(struct arena *arena, const struct mime_value *raw, const struct piece pieces[], struct slice name,
                 struct mime_parameter *out) {
    size_t room = 0, n = 0;
    for (size_t i = 0; i < raw->count; i++) room += raw->parameters[i].value.n;
    char *text = arena_alloc(arena, room + 1);
    out->is_extended = true;
    for (int number = -1; number < MIME_PARAMETERS_MAX; number++) {
        bool found = false;
        for (size_t i = 0; i < raw->count && !found; i++) {
            if (pieces[i].number != number || !slice_equal_nocase(pieces[i].name, name) ||
                (number < 0 && !pieces[i].encoded))
                continue;
            struct slice value = raw->parameters[i].value, charset, language;
            found = true;
            if (pieces[i].encoded && number <= 0 && slice_cut(&value, '\'', &charset)) {
                if (slice_cut(&value, '\'', &language)) {
                    out->charset = charset;
                    out->language = language;
                } else {
                    value = raw->parameters[i].value;
                }
            }
            if (pieces[i].encoded) {
                n += percent_decode(value, text + n);
            } else {
                memcpy(text + n, value.p, value.n);
                n += value.n;
            }
        }
        if (found && number < 0) break;
        if (!found && number >= 0) break;
    }
    out->value = slice_make(text, n);
}

void mime_read_value(struct arena *arena, struct slice value, struct mime_value *out) {
    struct piece pieces[MIME_PARAMETERS_MAX];
    struct mime_value *raw = arena_alloc(arena, sizeof *raw);
    mime_read_value_raw(arena, value, raw);
    memset(out, 0, sizeof *out);
    out->word = raw->word;
    for (size_t i = 0; i < raw->count; i++) pieces[i] = piece_of(raw->parameters[i].name);
    for (size_t i = 0; i < raw->count; i++) {
        struct slice name = pieces[i].name;
        bool is_extended = pieces[i].encoded || pieces[i].number >= 0;
        char *lower = arena_copy(arena, name);
        for (char *c = lower; *c; c++) *c = (char)tolower((unsigned char)*c);
        name.p = lower;
        struct mime_parameter *p = NULL;
        for (size_t k = 0; k < out->count && !p; k++)
            if (slice_equal(out->parameters[k].name, name)) p = &out->parameters[k];
        if (p && (!is_extended || p->is_extended))
            continue; /* the first one counts; the extended form before the plain one (RFC 2231 §4,
                         RFC 6266 §4.3) */
        if (!p) p = &out->parameters[out->count++];
        *p = (struct mime_parameter){.name = name, .value = raw->parameters[i].value};
        if (is_extended) join(arena, raw, pieces, name, p);
    }
}

bool mime_parameter(const struct mime_value *value, const char *name, struct slice *out) {
    for (size_t i = 0; i < value->count; i++) {
        if (!slice_is_nocase(value->parameters[i].name, name)) continue;
        *out = value->parameters[i].value;
        return true;
    }
    return false;
}
