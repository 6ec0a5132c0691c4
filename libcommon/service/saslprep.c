/* SASLprep (RFC 4013): a profile of stringprep, with the tables of the Unicode version that utf8proc
 * has, as PRECIS (RFC 8265) would use. */
#include <stdlib.h>
#include <utf8proc.h>

#include "libcommon/service/scram.h"

/* RFC 3454 table B.1: commonly mapped to nothing. */
static bool is_nothing(utf8proc_int32_t c) {
    return c == 0xad || c == 0x34f || c == 0x1806 || (c >= 0x180b && c <= 0x180d) || (c >= 0x200b && c <= 0x200d) ||
           c == 0x2060 || (c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff;
}

/* Non-ASCII spaces become a space (table C.1.2). */
static bool is_space(utf8proc_int32_t c) {
    return c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* RFC 4013 §2.3: controls, private use, non-characters, surrogates, and others (tables C.2 to C.9). */
static bool is_prohibited(utf8proc_int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    if (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CO || category == UTF8PROC_CATEGORY_CS ||
        category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP)
        return true;
    if ((c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef)) return true;
    return c == 0x6dd || c == 0x70f || c == 0x180e || c == 0x340 || c == 0x341 || (c >= 0x200e && c <= 0x200f) ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2061 && c <= 0x206f) || (c >= 0xfff9 && c <= 0xfffd) ||
           (c >= 0x2ff0 && c <= 0x2ffb) || (c >= 0x1d173 && c <= 0x1d17a) || (c >= 0xe0001 && c <= 0xe007f);
}

int saslprep(struct slice text, struct buf *out) {
    struct buf mapped = {0};
    for (size_t i = 0; i < text.n;) {
        utf8proc_int32_t c;
        utf8proc_uint8_t bytes[4];
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text.p + i, (utf8proc_ssize_t)(text.n - i), &c);
        if (n <= 0) {
            buf_free(&mapped);
            return -1;
        }
        i += (size_t)n;
        if (is_nothing(c)) continue;
        utf8proc_ssize_t written = utf8proc_encode_char(is_space(c) ? ' ' : c, bytes);
        buf_add(&mapped, bytes, (size_t)written);
    }
    utf8proc_uint8_t *normal = NULL;
    utf8proc_ssize_t n = mapped.n ? utf8proc_map((const utf8proc_uint8_t *)mapped.data, (utf8proc_ssize_t)mapped.n,
                                                 &normal, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT)
                                  : 0;
    buf_free(&mapped);
    bool right = n > 0, has_right_to_left = false, has_left_to_right = false;
    for (utf8proc_ssize_t i = 0; i < n && right;) {
        utf8proc_int32_t c;
        i += utf8proc_iterate(normal + i, n - i, &c);
        utf8proc_bidi_class_t direction = (utf8proc_bidi_class_t)utf8proc_get_property(c)->bidi_class;
        right = !is_prohibited(c);
        has_right_to_left |= direction == UTF8PROC_BIDI_CLASS_R || direction == UTF8PROC_BIDI_CLASS_AL;
        has_left_to_right |= direction == UTF8PROC_BIDI_CLASS_L;
    }
    right = right && !(has_right_to_left && has_left_to_right); /* RFC 4013 §2.4 */
    if (right) buf_add(out, normal, (size_t)n);
    free(normal);
    return right ? 0 : -1;
}
