/* Macros (RFC 7208 §7): their grammar and their expansion. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "libcommon/trust/spf/spf.h"

enum { NAME_MAX_BYTES = 253, EXPANSION_MAX = 65536 };

/* The parts of "%{" letter digits "r" delimiters "}" (§7.1). */
struct macro {
    char letter; /* lower case */
    bool escape; /* the letter was upper case: URL escaping (§7.3) */
    size_t keep; /* right-hand parts to keep; 0: all */
    bool reverse;
    struct slice delimiters; /* empty: "." */
    size_t bytes;            /* length with "%{" and "}" */
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_alphanum(char c) { return is_alpha(c) || is_digit(c); }

/* The macro that spec begins with; false when it is malformed. */
static bool macro_parse(struct slice spec, bool text, struct macro *m) {
    ptrdiff_t close = slice_find(spec, '}');
    if (spec.n < 2 || spec.p[1] != '{' || close < 3) return false;
    struct slice body = slice_make(spec.p + 2, (size_t)close - 2);
    *m = (struct macro){
        .letter = (char)(body.p[0] | 0x20), .escape = body.p[0] >= 'A' && body.p[0] <= 'Z', .bytes = (size_t)close + 1};
    if (!is_alpha(body.p[0]) || !strchr(text ? "slodiphvcrt" : "slodiphv", m->letter))
        return false; /* §7.2: c, r, t only in explanations */
    size_t i = 1;
    bool digits = i < body.n && is_digit(body.p[i]);
    for (; i < body.n && is_digit(body.p[i]); i++)
        if (m->keep < EXPANSION_MAX) m->keep = m->keep * 10 + (size_t)(body.p[i] - '0');
    if (digits && !m->keep) return false; /* §7.3: not zero */
    if (i < body.n && (body.p[i] | 0x20) == 'r') m->reverse = true, i++;
    m->delimiters = slice_skip(body, i);
    for (size_t k = 0; k < m->delimiters.n; k++)
        if (!m->delimiters.p[k] || !strchr(".-+,/_=", m->delimiters.p[k])) return false;
    return true;
}

/* The bytes of the macro-expand that spec (with a "%" first) begins with; 0 when it is
 * malformed. */
static size_t expand_bytes(struct slice spec, bool text) {
    struct macro m;
    if (spec.n >= 2 && (spec.p[1] == '%' || spec.p[1] == '_' || spec.p[1] == '-')) return 2;
    return macro_parse(spec, text, &m) ? m.bytes : 0;
}

/* Walks over a macro-string; *tail: the number of literal bytes after its last macro-expand,
 * *macros: whether there is one. */
static bool walk(struct slice s, bool text, size_t *tail, bool *macros) {
    *tail = 0, *macros = false;
    for (size_t i = 0; i < s.n;) {
        if (s.p[i] == '%') {
            size_t n = expand_bytes(slice_skip(s, i), text);
            if (!n) return false;
            i += n;
            *tail = 0, *macros = true;
        } else if ((s.p[i] > 0x20 && s.p[i] < 0x7f) ||
                   (text && s.p[i] == ' ')) { /* macro-literal: visible ASCII (§7.1) */
            i++, ++*tail;
        } else {
            return false;
        }
    }
    return true;
}

bool spf_is_macro_string(struct slice s, bool text) {
    size_t tail;
    bool macros;
    return walk(s, text, &tail, &macros);
}

/* toplabel: letters, digits and inner hyphens, but not digits alone (§7.1). */
static bool is_top_label(struct slice label) {
    bool other = false;
    if (!label.n || !is_alphanum(label.p[0]) || !is_alphanum(label.p[label.n - 1])) return false;
    for (size_t i = 0; i < label.n; i++) {
        if (!is_alphanum(label.p[i]) && label.p[i] != '-') return false;
        other = other || !is_digit(label.p[i]);
    }
    return other;
}

bool spf_is_domain_spec(struct slice s) {
    size_t tail;
    bool macros;
    if (!s.n || !walk(s, false, &tail, &macros)) return false;
    if (macros && !tail) return true;
    struct slice end = slice_skip(s, s.n - tail);
    if (end.p[end.n - 1] == '.') end.n--;
    ptrdiff_t dot = slice_find_last(end, '.');
    return dot >= 0 && is_top_label(slice_skip(end, (size_t)dot + 1));
}

bool spf_has_p_macro(struct slice spec) {
    for (size_t i = 0; i + 2 < spec.n; i++) {
        if (spec.p[i] != '%') continue;
        if (spec.p[i + 1] == '{' && (spec.p[i + 2] | 0x20) == 'p') return true;
        i++; /* "%%{p" is not a macro */
    }
    return false;
}

/* The i macro: IPv6 as nibbles with dots between them; c: in the usual form (§7.3). */
static void add_ip(struct buf *b, const struct spf_macros *m, bool dotted) {
    char text[INET6_ADDRSTRLEN];
    if (m->v6 && dotted)
        for (int i = 0; i < 16; i++) buf_printf(b, "%s%x.%x", i ? "." : "", m->ip[i] >> 4, m->ip[i] & 15);
    else
        buf_add_str(b, inet_ntop(m->v6 ? AF_INET6 : AF_INET, m->ip, text, sizeof text));
}

static void add_value(struct buf *b, char letter, const struct spf_macros *m) {
    switch (letter) {
    case 's':
        buf_add_slice(b, m->local);
        buf_add_char(b, '@');
        buf_add_slice(b, m->origin);
        break;
    case 'l': buf_add_slice(b, m->local); break;
    case 'o': buf_add_slice(b, m->origin); break;
    case 'd': buf_add_slice(b, m->domain); break;
    case 'i': add_ip(b, m, true); break;
    case 'p': buf_add_slice(b, m->validated.n ? m->validated : SLICE("unknown")); break;
    case 'v': buf_add_str(b, m->v6 ? "ip6" : "in-addr"); break;
    case 'h': buf_add_slice(b, m->helo); break;
    case 'c': add_ip(b, m, false); break;
    case 'r': buf_add_slice(b, m->receiver.n ? m->receiver : SLICE("unknown")); break;
    case 't': buf_printf(b, "%lld", (long long)m->now); break;
    default: break;
    }
}

/* value split at the delimiters, reversed when asked, the rightmost `keep` parts, with dots between
 * them (§7.3). */
static void transform(struct slice value, const struct macro *m, struct buf *out) {
    struct slice delimiters = m->delimiters.n ? m->delimiters : SLICE(".");
    struct slice *parts = memory_alloc((value.n + 1) * sizeof *parts); /* not in the arena: a record may have
                                                                          thousands of macros */
    size_t count = 0, start = 0;
    for (size_t i = 0; i <= value.n; i++) {
        if (i < value.n && !memchr(delimiters.p, value.p[i], delimiters.n)) continue;
        parts[count++] = slice_make(value.p + start, i - start);
        start = i + 1;
    }
    size_t first = m->keep && m->keep < count ? count - m->keep : 0;
    for (size_t i = first; i < count; i++) {
        if (i > first) buf_add_char(out, '.');
        buf_add_slice(out, m->reverse ? parts[count - 1 - i] : parts[i]);
    }
    free(parts);
}

/* Bytes that are not unreserved in a URI become %XX (§7.3, RFC 3986 §2.3). */
static void add_escaped(struct buf *out, struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (is_alphanum(s.p[i]) || (s.p[i] && strchr("-._~", s.p[i])))
            buf_add_char(out, s.p[i]);
        else
            buf_printf(out, "%%%02X", (unsigned char)s.p[i]);
    }
}

static void add_macro(const struct macro *m, const struct spf_macros *values, struct buf *out) {
    struct buf value = {0}, result = {0};
    add_value(&value, m->letter, values);
    if (m->keep || m->reverse || m->delimiters.n)
        transform(buf_slice(&value), m, &result);
    else
        buf_add_slice(&result, buf_slice(&value));
    if (m->escape)
        add_escaped(out, buf_slice(&result));
    else
        buf_add_slice(out, buf_slice(&result));
    buf_free(&value);
    buf_free(&result);
}

static bool is_ascii(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80) return false;
    return true;
}

/* A name to look up, without final dot; labels are removed from the left of a name that is too long
 * (§7.3). */
static struct slice to_name(struct slice name) {
    if (name.n && name.p[name.n - 1] == '.') name.n--;
    while (name.n > NAME_MAX_BYTES) {
        ptrdiff_t dot = slice_find(name, '.');
        if (dot < 0) break;
        name = slice_skip(name, (size_t)dot + 1);
    }
    return name;
}

enum spf_expansion spf_expand(struct arena *arena, struct slice spec, const struct spf_macros *values, bool text,
                              struct slice *out) {
    struct buf b = {0};
    struct macro m;
    enum spf_expansion result = spf_is_macro_string(spec, text) ? SPF_EXPANDED : SPF_MALFORMED;
    *out = SLICE("");
    if (result == SPF_MALFORMED) return result;
    for (size_t i = 0; i < spec.n && b.n < EXPANSION_MAX; i++) {
        if (spec.p[i] != '%') {
            buf_add_char(&b, spec.p[i]);
        } else if (macro_parse(slice_skip(spec, i), text, &m)) {
            if (!text && (m.letter == 's' || m.letter == 'l') && !is_ascii(values->local))
                result = SPF_UNMATCHABLE; /* RFC 8616 §4 */
            add_macro(&m, values, &b);
            i += m.bytes - 1;
        } else { /* %% %_ %- (§7.1) */
            i++;
            buf_add_str(&b, spec.p[i] == '%' ? "%" : spec.p[i] == '_' ? " " : "%20");
        }
    }
    if (!text && !is_ascii(buf_slice(&b))) result = SPF_UNMATCHABLE; /* a HELO that is not a domain name */
    if (result == SPF_EXPANDED) *out = arena_slice(arena, text ? buf_slice(&b) : to_name(buf_slice(&b)));
    buf_free(&b);
    return result;
}
