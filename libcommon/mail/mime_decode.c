/* Content-Transfer-Encoding undone (RFC 2045 §6). */
#include <ctype.h>

#include "libcommon/mail/mime.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)toupper((unsigned char)c);
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void decode_quoted_printable(struct slice s, struct buf *out) {
    char *to = buf_reserve(out, s.n);
    size_t n = 0;
    for (size_t at = 0; at < s.n;) {
        const char *lf = memchr(s.p + at, '\n', s.n - at);
        size_t next = lf ? (size_t)(lf - s.p) + 1 : s.n, end = next;
        bool has_crlf = lf && end - at >= 2 && s.p[end - 2] == '\r', soft = false;
        if (has_crlf) end -= 2;
        size_t text_end = end;
        if (has_crlf || !lf) /* white space at a line's end was added in transport (RFC 2045 §6.7
                                (3)) */
            while (text_end > at && (s.p[text_end - 1] == ' ' || s.p[text_end - 1] == '\t')) text_end--;
        for (size_t i = at; i < text_end; i++) {
            if (s.p[i] != '=') {
                to[n++] = s.p[i];
                continue;
            }
            bool pair = i + 2 < text_end;
            int high = pair ? hex(s.p[i + 1]) : -1, low = pair ? hex(s.p[i + 2]) : -1;
            if (high >= 0 && low >= 0) {
                to[n++] = (char)(high << 4 | low);
                i += 2;
            } else if (i + 1 == text_end) {
                soft = true;
            } else {
                to[n++] = '=';
            }
        }
        if (has_crlf && !soft) {
            to[n++] = '\r';
            to[n++] = '\n';
        }
        at = next;
    }
    out->n += n;
    if (out->data) out->data[out->n] = '\0';
}

/* Bytes that are not in the alphabet are ignored, and a pad ends the text (RFC 2045 §6.8). A last
 * group that is not complete gives the bytes that it has. */
static void decode_base64(struct slice s, struct buf *out) {
    char *to = buf_reserve(out, s.n / 4 * 3 + 3);
    uint32_t bits = 0;
    size_t n = 0;
    int count = 0;
    for (size_t i = 0; i < s.n && s.p[i] != '='; i++) {
        char c = s.p[i];
        uint32_t value = c >= 'A' && c <= 'Z'   ? (uint32_t)(c - 'A')
                         : c >= 'a' && c <= 'z' ? (uint32_t)(c - 'a' + 26)
                         : c >= '0' && c <= '9' ? (uint32_t)(c - '0' + 52)
                         : c == '+'             ? 62
                         : c == '/'             ? 63
                                                : 64;
        if (value == 64) continue;
        bits = bits << 6 | value;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        to[n++] = (char)(bits >> count & 0xff);
    }
    out->n += n;
    if (out->data) out->data[out->n] = '\0';
}

int mime_decode_body(const struct mime *m, uint32_t part, struct buf *out) {
    struct slice body = mime_body(m, part);
    switch (m->parts[part].encoding) {
    case MIME_7BIT:
    case MIME_8BIT:
    case MIME_BINARY: buf_add_slice(out, body); return 0;
    case MIME_QUOTED_PRINTABLE: decode_quoted_printable(body, out); return 0;
    case MIME_BASE64: decode_base64(body, out); return 0;
    default: return -1;
    }
}
