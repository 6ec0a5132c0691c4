#include "libcommon/bus/json_text.h"

#include <math.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"

enum { NUMBER_MAX = 400 };

struct reader {
    const char *p, *end;
    int depth;
    struct buf scratch; /* a string with escapes, written out */
};

static json_t *read_value(struct reader *r);

static void skip_space(struct reader *r) {
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\r' || *r->p == '\n')) r->p++;
}

/* Takes c, behind white space. */
static bool take(struct reader *r, char c) {
    skip_space(r);
    if (r->p == r->end || *r->p != c) return false;
    r->p++;
    return true;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1; }

/* The four digits of \uXXXX at p, or -1. */
static long read_unit(const struct reader *r, const char *p) {
    long unit = 0;
    if (r->end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static void add_utf8(struct buf *out, long c) {
    if (c < 0x80) {
        buf_add_char(out, (char)c);
    } else if (c < 0x800) {
        buf_add_char(out, (char)(0xc0 | c >> 6));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_add_char(out, (char)(0xe0 | c >> 12));
        buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_add_char(out, (char)(0xf0 | c >> 18));
        buf_add_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    }
}

/* \uXXXX, and its second half where it is a surrogate (§7); r->p is behind the u. */
static bool read_code_point(struct reader *r) {
    long c = read_unit(r, r->p);
    if (c <= 0 || (c >= 0xdc00 && c <= 0xdfff)) return false;
    r->p += 4;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u') return false;
        long low = read_unit(r, r->p + 2);
        if (low < 0xdc00 || low > 0xdfff) return false;
        r->p += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    add_utf8(&r->scratch, c);
    return true;
}

static bool read_escape(struct reader *r) {
    static const char letters[] = "\"\\/bfnrt", stand_for[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end) return false;
    char c = *r->p++;
    if (c == 'u') return read_code_point(r);
    const char *at = c ? strchr(letters, c) : NULL;
    if (at) buf_add_char(&r->scratch, stand_for[at - letters]);
    return at != NULL;
}

/* A string; r->p is behind its first quote. *text: in the source, or in scratch until the next string. *ascii: nothing but that is in it, so it is UTF-8. */
static bool read_string(struct reader *r, struct slice *text, bool *ascii) {
    const char *from = r->p;
    unsigned char seen = 0;
    bool escaped = false;
    buf_reset(&r->scratch);
    while (r->p < r->end) {
        unsigned char c = (unsigned char)*r->p;
        if (c == '"') {
            *text = slice_make(from, (size_t)(r->p - from));
            if (escaped) {
                buf_add_slice(&r->scratch, *text);
                *text = buf_slice(&r->scratch);
            }
            r->p++;
            *ascii = !escaped && !(seen & 0x80);
            return true;
        }
        if (c == '\\') {
            buf_add(&r->scratch, from, (size_t)(r->p - from));
            r->p++;
            if (!read_escape(r)) return false;
            escaped = true;
            from = r->p;
            continue;
        }
        if (c < 0x20) return false;
        seen |= c;
        r->p++;
    }
    return false;
}

static json_t *read_text(struct reader *r) {
    struct slice text;
    bool ascii;
    if (!read_string(r, &text, &ascii)) return NULL;
    return ascii ? json_stringn_nocheck(text.p, text.n) : json_stringn(text.p, text.n);
}

static json_t *read_object(struct reader *r) {
    json_t *object = json_object();
    if (take(r, '}')) return object;
    do {
        struct slice text;
        bool ascii;
        if (!take(r, '"') || !read_string(r, &text, &ascii)) break;
        char short_name[64], *name = text.n < sizeof short_name ? short_name : memory_alloc(text.n + 1); /* the value may use scratch */
        memcpy(name, text.p, text.n);
        json_t *value = take(r, ':') ? read_value(r) : NULL;
        int failed = ascii ? json_object_setn_new_nocheck(object, name, text.n, value) : json_object_setn_new(object, name, text.n, value);
        if (name != short_name) free(name);
        if (failed) break;
        if (take(r, '}')) return object;
    } while (take(r, ','));
    json_decref(object);
    return NULL;
}

static json_t *read_array(struct reader *r) {
    json_t *array = json_array();
    if (take(r, ']')) return array;
    do {
        if (json_array_append_new(array, read_value(r)) != 0) break;
        if (take(r, ']')) return array;
    } while (take(r, ','));
    json_decref(array);
    return NULL;
}

static size_t count_digits(const char *p, const char *end) {
    size_t n = 0;
    while (p + n < end && p[n] >= '0' && p[n] <= '9') n++;
    return n;
}

/* §6: no zeros before others, digits on both sides of a point. */
static json_t *read_number(struct reader *r) {
    const char *from = r->p, *p = r->p + (*r->p == '-');
    size_t digits = count_digits(p, r->end);
    bool whole = true;
    if (!digits || (*p == '0' && digits > 1)) return NULL;
    p += digits;
    if (p < r->end && *p == '.') {
        whole = false;
        digits = count_digits(++p, r->end);
        if (!digits) return NULL;
        p += digits;
    }
    if (p < r->end && (*p == 'e' || *p == 'E')) {
        whole = false;
        p++;
        if (p < r->end && (*p == '+' || *p == '-')) p++;
        digits = count_digits(p, r->end);
        if (!digits) return NULL;
        p += digits;
    }
    struct slice text = slice_make(from, (size_t)(p - from));
    r->p = p;
    if (whole) {
        uint64_t value;
        bool minus = *from == '-';
        if (slice_to_u64(slice_skip(text, minus), (uint64_t)INT64_MAX + minus, &value) != 0) return NULL;
        return json_integer((json_int_t)(minus ? 0 - value : value));
    }
    char copy[NUMBER_MAX + 1];
    if (text.n > NUMBER_MAX) return NULL;
    memcpy(copy, from, text.n);
    copy[text.n] = 0;
    double value = strtod(copy, NULL);
    return isfinite(value) ? json_real(value) : NULL;
}

static bool take_word(struct reader *r, struct slice word) {
    if (!slice_starts(slice_make(r->p, (size_t)(r->end - r->p)), word)) return false;
    r->p += word.n;
    return true;
}

/* Recursion is bounded by JSON_DEPTH_MAX. */
static json_t *read_value(struct reader *r) {
    skip_space(r);
    if (r->p == r->end || r->depth == JSON_DEPTH_MAX) return NULL;
    json_t *value = NULL;
    r->depth++;
    switch (*r->p) {
    case '{': r->p++, value = read_object(r); break;
    case '[': r->p++, value = read_array(r); break;
    case '"': r->p++, value = read_text(r); break;
    case 't': value = take_word(r, SLICE("true")) ? json_true() : NULL; break;
    case 'f': value = take_word(r, SLICE("false")) ? json_false() : NULL; break;
    case 'n': value = take_word(r, SLICE("null")) ? json_null() : NULL; break;
    default: value = read_number(r);
    }
    r->depth--;
    return value;
}

json_t *json_text_read(struct slice text) {
    struct reader r = {.p = text.p, .end = text.p + text.n};
    json_t *value = read_value(&r);
    skip_space(&r);
    buf_free(&r.scratch);
    if (r.p == r.end && (json_is_object(value) || json_is_array(value))) return value;
    json_decref(value);
    return NULL;
}

static void write_string(struct buf *out, const char *p, size_t n) {
    static const char hex[] = "0123456789abcdef";
    const char *from = p, *end = p + n;
    buf_add_char(out, '"');
    for (; p < end; p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        const char *at = c ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", c) : NULL; /* each with the letter of its escape */
        buf_add(out, from, (size_t)(p - from));
        if (at)
            buf_add(out, (char[]){'\\', at[1]}, 2);
        else
            buf_add(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
        from = p + 1;
    }
    buf_add(out, from, (size_t)(p - from));
    buf_add_char(out, '"');
}

static void write_value(const json_t *value, struct buf *out, int depth);

static void write_object(const json_t *value, struct buf *out, int depth) {
    json_t *object = (json_t *)(uintptr_t)value; /* jansson's iterators take no const; nothing is changed */
    char before = '{';
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        buf_add_char(out, before);
        write_string(out, json_object_iter_key(at), json_object_iter_key_len(at));
        buf_add_char(out, ':');
        write_value(json_object_iter_value(at), out, depth);
        before = ',';
    }
    if (before == '{') buf_add_char(out, '{');
    buf_add_char(out, '}');
}

static void write_array(const json_t *value, struct buf *out, int depth) {
    buf_add_char(out, '[');
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i) buf_add_char(out, ',');
        write_value(json_array_get(value, i), out, depth);
    }
    buf_add_char(out, ']');
}

static void write_real(double value, struct buf *out) {
    size_t from = out->n;
    buf_printf(out, "%.17g", value);
    if (!strpbrk(out->data + from, ".e")) buf_add_str(out, ".0"); /* it stays a real */
}

static void write_value(const json_t *value, struct buf *out, int depth) {
    switch (depth < JSON_DEPTH_MAX && value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT: write_object(value, out, depth + 1); break;
    case JSON_ARRAY: write_array(value, out, depth + 1); break;
    case JSON_STRING: write_string(out, json_string_value(value), json_string_length(value)); break;
    case JSON_INTEGER: buf_printf(out, "%lld", (long long)json_integer_value(value)); break;
    case JSON_REAL: write_real(json_real_value(value), out); break;
    case JSON_TRUE: buf_add_str(out, "true"); break;
    case JSON_FALSE: buf_add_str(out, "false"); break;
    case JSON_NULL: buf_add_str(out, "null"); break;
    }
}

void json_text_write(const json_t *value, struct buf *out) { write_value(value, out, 0); }
