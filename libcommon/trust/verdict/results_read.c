#include "libcommon/trust/verdict/results_read.h"

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Skips white space and comments (CFWS, RFC 5322 §3.2.2). */
static void skip_cfws(struct slice *s) {
    size_t i = 0, depth = 0;
    for (; i < s->n; i++) {
        char c = s->p[i];
        if (c == '(') {
            depth++;
        } else if (depth) {
            if (c == '\\')
                i++;
            else if (c == ')')
                depth--;
        } else if (!is_space(c)) {
            break;
        }
    }
    *s = slice_skip(*s, i);
}

/* The content of a quoted string, or the text up to one of `ends`, white space or a comment; empty
 * when there is none. */
static struct slice take_value(struct arena *arena, struct slice *s, const char *ends) {
    skip_cfws(s);
    size_t n = 0;
    if (!s->n || s->p[0] != '"') {
        while (n < s->n && !is_space(s->p[n]) && s->p[n] != '(' && !(s->p[n] && strchr(ends, s->p[n]))) n++;
        struct slice word = slice_head(*s, n);
        *s = slice_skip(*s, n);
        return word;
    }
    char *text = arena_alloc(arena, s->n);
    size_t i = 1;
    for (; i < s->n && s->p[i] != '"'; i++) {
        if (s->p[i] == '\\' && i + 1 < s->n) i++;
        if (s->p[i] != '\r' && s->p[i] != '\n') text[n++] = s->p[i];
    }
    *s = slice_skip(*s, i + 1);
    return slice_make(text, n);
}

static bool take_byte(struct slice *s, char c) {
    skip_cfws(s);
    if (!s->n || s->p[0] != c) return false;
    *s = slice_skip(*s, 1);
    return true;
}

int results_authserv_id(struct arena *arena, struct slice *value, struct slice *id) {
    *id = take_value(arena, value, ";");
    skip_cfws(value);
    if (value->n && value->p[0] != ';') take_value(arena, value, ";"); /* the version */
    skip_cfws(value);
    return id->n && (!value->n || value->p[0] == ';') ? 0 : -1;
}

struct slice results_property(const struct results_one *r, const char *type, const char *name) {
    for (size_t i = 0; i < r->property_count; i++)
        if (slice_is_nocase(r->properties[i].type, type) && slice_is_nocase(r->properties[i].name, name))
            return r->properties[i].value;
    return SLICE("");
}

int results_next(struct arena *arena, struct slice *value, struct results_one *out) {
    *out = (struct results_one){.reason = SLICE("")};
    if (!take_byte(value, ';')) return value->n ? -1 : 0;
    out->method = take_value(arena, value, "=/;");
    if (!out->method.n) return value->n ? -1 : 0;              /* many senders write a last ";" without a result */
    if (take_byte(value, '/')) take_value(arena, value, "=;"); /* the method's version */
    if (!take_byte(value, '=')) return slice_is_nocase(out->method, "none") && !value->n ? 0 : -1;
    out->result = take_value(arena, value, ";");
    if (!out->result.n) return -1;
    for (skip_cfws(value); value->n && value->p[0] != ';'; skip_cfws(value)) {
        struct results_property p = {.type = take_value(arena, value, ".=;")};
        bool dotted = take_byte(value, '.');
        if (dotted) p.name = take_value(arena, value, "=;");
        if (!p.type.n || (dotted && !p.name.n) || !take_byte(value, '=')) return -1;
        p.value = take_value(arena, value, ";");
        /* a local part may be quoted and followed by a domain: "a b"@example.org */
        if (value->n && value->p[0] == '@') {
            struct slice domain = take_value(arena, value, ";");
            p.value = slice_of(arena_printf(arena, "%.*s%.*s", SLICE_FMT(p.value), SLICE_FMT(domain)));
        }
        if (!dotted && slice_is_nocase(p.type, "reason"))
            out->reason = p.value;
        else if (dotted && out->property_count < RESULTS_PROPERTIES_MAX)
            out->properties[out->property_count++] = p;
    }
    return 1;
}
