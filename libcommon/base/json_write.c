#include "libcommon/base/json_write.h"

#include "libcommon/base/base64.h"

/* What comes before a value. The last byte tells whether it is the first one of its object or array: a text before it
 * would end with a quote. */
static void begin(struct buf *b, const char *name) {
    char last = b->n ? b->data[b->n - 1] : '[';
    if (last != '{' && last != '[') buf_add_char(b, ',');
    if (!name) return;
    buf_add_char(b, '"');
    buf_add_str(b, name);
    buf_add(b, "\":", 2);
}

/* The bytes of the UTF-8 character at p, or 0 (RFC 3629 §4). */
static size_t utf8_length(const unsigned char *p, size_t left) {
    size_t n = *p < 0x80                 ? 1
               : *p >= 0xc2 && *p < 0xe0 ? 2
               : *p >= 0xe0 && *p < 0xf0 ? 3
               : *p >= 0xf0 && *p < 0xf5 ? 4
                                         : 0;
    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
        (*p == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

bool json_is_utf8(struct slice text) {
    for (size_t i = 0, n; i < text.n; i += n)
        if (!(n = utf8_length((const unsigned char *)text.p + i, text.n - i))) return false;
    return true;
}

static bool is_plain(unsigned char c) { return c >= ' ' && c < 0x80 && c != '"' && c != '\\'; }

void json_open(struct buf *b, const char *name, char bracket) {
    begin(b, name);
    buf_add_char(b, bracket);
}

void json_close(struct buf *b, char bracket) { buf_add_char(b, bracket); }

void json_text(struct buf *b, const char *name, struct slice value) {
    const unsigned char *p = (const unsigned char *)value.p;
    begin(b, name);
    buf_add_char(b, '"');
    for (size_t i = 0; i < value.n;) {
        size_t n = 0;
        while (i + n < value.n && is_plain(p[i + n])) n++;
        if (n) {
            buf_add(b, p + i, n);
            i += n;
            continue;
        }
        if (p[i] >= 0x80) {
            n = utf8_length(p + i, value.n - i);
            buf_add(b, n ? (const char *)p + i : "?", n ? n : 1);
            i += n ? n : 1;
            continue;
        }
        switch (p[i]) {
        case '"': buf_add(b, "\\\"", 2); break;
        case '\\': buf_add(b, "\\\\", 2); break;
        case '\r': buf_add(b, "\\r", 2); break;
        case '\n': buf_add(b, "\\n", 2); break;
        case '\t': buf_add(b, "\\t", 2); break;
        default: buf_printf(b, "\\u%04x", p[i]); break;
        }
        i++;
    }
    buf_add_char(b, '"');
}

void json_number(struct buf *b, const char *name, int64_t value) {
    begin(b, name);
    buf_printf(b, "%lld", (long long)value);
}

void json_flag(struct buf *b, const char *name, bool value) {
    json_raw(b, name, value ? SLICE("true") : SLICE("false"));
}

void json_nothing(struct buf *b, const char *name) { json_raw(b, name, SLICE("null")); }

void json_base64(struct buf *b, const char *name, struct slice bytes) {
    begin(b, name);
    buf_add_char(b, '"');
    base64_encode(bytes, b);
    buf_add_char(b, '"');
}

void json_raw(struct buf *b, const char *name, struct slice json) {
    begin(b, name);
    buf_add_slice(b, json);
}
