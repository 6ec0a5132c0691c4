#include "libcommon/base/base64.h"

/* What a character stands for; SP: white space, NO: none of base 64. Both have the top bit, so that four characters are looked at in one test. */
enum { SP = 0x80, NO = 0xff };
// clang-format off
static const unsigned char values[256] = {
    NO, NO, NO, NO, NO, NO, NO, NO, NO, SP, SP, NO, NO, SP, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    SP, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 62, NO, NO, NO, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO, NO, NO, NO, NO, NO,
    NO, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, NO, NO, NO, NO, NO,
    NO, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
};
// clang-format on
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice bytes, struct buf *out) {
    const unsigned char *p = (const unsigned char *)bytes.p;
    char *at = buf_reserve(out, (bytes.n + 2) / 3 * 4);
    size_t left = bytes.n;
    for (; left >= 3; left -= 3, p += 3, at += 4) {
        unsigned bits = (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
        at[0] = digits[bits >> 18];
        at[1] = digits[bits >> 12 & 63];
        at[2] = digits[bits >> 6 & 63];
        at[3] = digits[bits & 63];
    }
    if (left) {
        unsigned bits = (unsigned)p[0] << 16 | (left == 2 ? (unsigned)p[1] << 8 : 0);
        at[0] = digits[bits >> 18];
        at[1] = digits[bits >> 12 & 63];
        at[2] = left == 2 ? digits[bits >> 6 & 63] : '=';
        at[3] = '=';
    }
    out->n += (bytes.n + 2) / 3 * 4;
    out->data[out->n] = 0;
}

int base64_decode(struct slice text, bool loose, struct buf *out) {
    const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n;
    unsigned char *begin = (unsigned char *)buf_reserve(out, text.n / 4 * 3 + 4), *at = begin;
    unsigned bits = 0, have = 0, value; /* digits of the group that is not whole yet */
    while (p < end) {
        while (!have && end - p >= 4) { /* whole groups, as long as nothing stands between */
            unsigned a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];
            if ((a | b | c | d) & SP) break;
            unsigned group = a << 18 | b << 12 | c << 6 | d;
            *at++ = (unsigned char)(group >> 16);
            *at++ = (unsigned char)(group >> 8);
            *at++ = (unsigned char)group;
            p += 4;
        }
        if (p == end) break;
        value = values[*p];
        if (value & SP) {
            if (value != SP || !loose) break;
        } else {
            bits = bits << 6 | value;
            if (++have == 4) {
                *at++ = (unsigned char)(bits >> 16);
                *at++ = (unsigned char)(bits >> 8);
                *at++ = (unsigned char)bits;
                bits = have = 0;
            }
        }
        p++;
    }
    unsigned padding = have ? 4 - have : 0;
    for (; p < end && (*p == '=' ? padding > 0 : loose && values[*p] == SP); p++) padding -= *p == '=';
    /* RFC 4648 §3.2: padding is needed; §3.5: the bits that are left over are zero */
    bool good = have != 1 && !padding && p == end && !(bits & (have == 2 ? 0xfu : have == 3 ? 0x3u : 0u));
    if (good && have) *at++ = (unsigned char)(have == 3 ? bits >> 10 : bits >> 4);
    if (good && have == 3) *at++ = (unsigned char)(bits >> 2);
    if (good) out->n += (size_t)(at - begin);
    out->data[out->n] = 0;
    return good ? 0 : -1;
}
