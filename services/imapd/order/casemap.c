#include "services/imapd/order/casemap.h"

#include <utf8proc.h>

enum { DECOMPOSED_MAX = 64, SHARP_S = 0xdf };

static void add_code(struct buf *out, utf8proc_int32_t code) {
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(code, bytes);
    if (n > 0) buf_add(out, bytes, (size_t)n);
}

static size_t map_character(struct slice s, struct buf *out) {
    const utf8proc_option_t how = UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE;
    utf8proc_int32_t code, parts[DECOMPOSED_MAX];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &code);
    if (n <= 0) {
        add_code(out, 0xfffd);
        return 1;
    }
    if (code != SHARP_S) code = utf8proc_totitle(code); /* UnicodeData.txt has no title case for it */
    utf8proc_ssize_t count = utf8proc_decompose_char(code, parts, DECOMPOSED_MAX, how, &boundary);
    if (count < 0 || count > DECOMPOSED_MAX)
        add_code(out, code);
    else
        for (utf8proc_ssize_t i = 0; i < count; i++) add_code(out, parts[i]);
    return (size_t)n;
}

void unicode_casemap(struct slice utf8, struct buf *out) {
    for (size_t i = 0; i < utf8.n;) {
        char c = utf8.p[i];
        if ((unsigned char)c < 0x80) {
            buf_add_char(out, c >= 'a' && c <= 'z' ? (char)(c - 0x20) : c);
            i++;
        } else {
            i += map_character(slice_skip(utf8, i), out);
        }
    }
}
