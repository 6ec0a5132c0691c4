#include "libcommon/mail/encoded_word.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <utf8proc.h>

#include "libcommon/base/base64.h"

enum { CHARSET_MAX = 40 };
#define REPLACEMENT "\xef\xbf\xbd"

static void add_utf8(struct slice s, struct buf *out) {
    for (size_t i = 0; i < s.n;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.p + i, (utf8proc_ssize_t)(s.n - i), &code);
        if (n <= 0) {
            buf_add_str(out, REPLACEMENT);
            i++;
            continue;
        }
        buf_add(out, s.p + i, (size_t)n);
        i += (size_t)n;
    }
}

static bool is_charset_name(struct slice name) {
    if (name.n == 0 || name.n > CHARSET_MAX) return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.:", c)) ||
            c == '\0')
            return false;
    }
    return true;
}

bool charset_to_utf8(struct slice charset, struct slice text, struct buf *out) {
    char name[CHARSET_MAX + 1];
    if (!is_charset_name(charset)) return false;
    if (slice_is_nocase(charset, "utf-8") || slice_is_nocase(charset, "utf8") || slice_is_nocase(charset, "us-ascii")) {
        add_utf8(text, out);
        return true;
    }
    snprintf(name, sizeof name, "%.*s", SLICE_FMT(charset));
    iconv_t converter = iconv_open("UTF-8", name);
    if (converter == (iconv_t)-1) return false;
    char *from = (char *)(uintptr_t)text.p; /* iconv does not write there */
    size_t left = text.n;
    while (left) {
        size_t room = left * 4 + 16, before = room;
        char *to = buf_reserve(out, room);
        size_t done = iconv(converter, &from, &left, &to, &room);
        out->n += before - room;
        if (done != (size_t)-1 || errno == E2BIG) continue;
        buf_add_str(out, REPLACEMENT);
        if (errno == EINVAL) break; /* the text ends inside a character */
        from++;
        left--;
    }
    if (out->data) out->data[out->n] = '\0';
    iconv_close(converter);
    return true;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 2047 §4.2 */
static void decode_q(struct slice s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++) {
        bool pair = s.p[i] == '=' && i + 2 < s.n;
        int high = pair ? hex(s.p[i + 1]) : -1, low = pair ? hex(s.p[i + 2]) : -1;
        if (high >= 0 && low >= 0) {
            buf_add_char(out, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_add_char(out, s.p[i] == '_' ? ' ' : s.p[i]);
        }
    }
}

/* "=?charset[*language]?Q|B?text?=" at the start of s: its length and parts; 0: none. */
static size_t take(struct slice s, struct slice *charset, char *encoding, struct slice *text) {
    struct slice rest = slice_skip(s, 2), language, code;
    if (!slice_starts(s, SLICE("=?")) || !slice_cut(&rest, '?', charset) || !slice_cut(&rest, '?', &code) ||
        code.n != 1)
        return 0;
    *encoding = (char)(code.p[0] & ~0x20);
    if ((*encoding != 'Q' && *encoding != 'B') || !slice_cut(&rest, '?', text) || rest.n == 0 || rest.p[0] != '=')
        return 0;
    for (size_t i = 0; i < text->n; i++)
        if (text->p[i] == ' ' || text->p[i] == '\t' || text->p[i] == '\r' || text->p[i] == '\n') return 0;
    struct slice whole = *charset;
    if (slice_cut(&whole, '*', &language)) *charset = language;
    return (size_t)(rest.p + 1 - s.p);
}

static size_t decode_word(struct slice s, struct buf *bytes, struct buf *out) {
    struct slice charset, text;
    char encoding;
    size_t n = take(s, &charset, &encoding, &text);
    if (n == 0) return 0;
    buf_reset(bytes);
    if (encoding == 'Q')
        decode_q(text, bytes);
    else if (base64_decode(text, true, bytes) != 0)
        return 0;
    return charset_to_utf8(charset, buf_slice(bytes), out) ? n : 0;
}

void encoded_word_decode(struct slice value, struct buf *out) {
    struct buf bytes = {0}, plain = {0};
    bool after_word = false; /* the last item was an encoded word: white space before the next one
                                is dropped */
    size_t start = out->n;
    value = slice_trim(value);
    for (size_t at = 0; at < value.n;) {
        size_t gap = at;
        while (gap < value.n &&
               (value.p[gap] == ' ' || value.p[gap] == '\t' || value.p[gap] == '\r' || value.p[gap] == '\n'))
            gap++;
        size_t before = out->n;
        if (gap > at && !after_word) buf_add_char(out, ' ');
        size_t n = decode_word(slice_skip(value, gap), &bytes, out);
        if (n) {
            after_word = true;
            at = gap + n;
            continue;
        }
        if (gap > at && after_word) {
            out->n = before;
            buf_add_char(out, ' ');
        }
        after_word = false;
        size_t end = gap + (gap < value.n && value.p[gap] == '='); /* plain text up to white space or a
                                                                      possible encoded word */
        while (end < value.n && !strchr(" \t\r\n=", value.p[end])) end++;
        if (end < value.n && value.p[end] == '\0') end++;
        buf_reset(&plain);
        buf_add(&plain, value.p + gap, end - gap);
        add_utf8(buf_slice(&plain), out);
        at = end;
    }
    for (size_t i = start; i < out->n; i++)
        if ((unsigned char)out->data[i] < ' ' || out->data[i] == 0x7f) out->data[i] = ' ';
    buf_free(&bytes);
    buf_free(&plain);
}
