/* Uses a table. The bytes are mail, not keys, so the time need not be constant; libsodium's
 * constant-time functions take ten times as long. */
#include "libcommon/base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice bytes, struct buf *out) {
    const unsigned char *p = (const unsigned char *)bytes.p;
    size_t left = bytes.n, room = (bytes.n / 3 + (bytes.n % 3 != 0)) * 4;
    char *at = buf_reserve(out, room);
    for (; left >= 3; left -= 3, p += 3, at += 4) {
        unsigned v = (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
        at[0] = digits[v >> 18];
        at[1] = digits[v >> 12 & 63];
        at[2] = digits[v >> 6 & 63];
        at[3] = digits[v & 63];
    }
    if (left) {
        unsigned v = (unsigned)p[0] << 16 | (left == 2 ? (unsigned)p[1] << 8 : 0);
        at[0] = digits[v >> 18];
        at[1] = digits[v >> 12 & 63];
        at[2] = left == 2 ? digits[v >> 6 & 63] : '=';
        at[3] = '=';
    }
    out->n += room;
    out->data[out->n] = '\0';
}

/* The value of each digit, and one more: 0 is no digit. */
static const unsigned char values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

/* The value of a digit, or -1. */
static inline int value_of(char c) { return (int)values[(unsigned char)c] - 1; }

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* The end of the text: only the padding that `missing` digits need, and white space where it is
 * allowed. */
static bool is_padding(struct slice rest, size_t missing, bool loose) {
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] == '=' && missing)
            missing--;
        else if (!loose || !is_space(rest.p[i]))
            return false;
    }
    return missing == 0;
}

int base64_decode(struct slice text, bool loose, struct buf *out) {
    unsigned char *at = (unsigned char *)buf_reserve(out, text.n / 4 * 3 + 4), *begin = at;
    unsigned v = 0;
    size_t i = 0, have = 0; /* digits in v */
    for (;;) {
        while (have == 0 && i + 4 <= text.n) {
            int a = value_of(text.p[i]), b = value_of(text.p[i + 1]), c = value_of(text.p[i + 2]),
                d = value_of(text.p[i + 3]);
            if ((a | b | c | d) < 0) break;
            v = (unsigned)a << 18 | (unsigned)b << 12 | (unsigned)c << 6 | (unsigned)d;
            *at++ = (unsigned char)(v >> 16);
            *at++ = (unsigned char)(v >> 8);
            *at++ = (unsigned char)v;
            i += 4;
        }
        if (i == text.n) break;
        int digit = value_of(text.p[i]);
        if (digit < 0 && !(loose && is_space(text.p[i]))) break;
        i++;
        if (digit < 0) continue;
        v = have ? v << 6 | (unsigned)digit : (unsigned)digit;
        if (++have < 4) continue;
        *at++ = (unsigned char)(v >> 16);
        *at++ = (unsigned char)(v >> 8);
        *at++ = (unsigned char)v;
        have = 0;
    }
    if (have == 2) *at++ = (unsigned char)(v >> 4);
    if (have == 3) {
        *at++ = (unsigned char)(v >> 10);
        *at++ = (unsigned char)(v >> 2);
    }
    bool good = have != 1 && is_padding(slice_skip(text, i), have ? 4 - have : 0, loose) && !(have == 2 && v & 15) &&
                !(have == 3 && v & 3); /* unused bits must be 0 */
    out->n += good ? (size_t)(at - begin) : 0;
    out->data[out->n] = '\0';
    return good ? 0 : -1;
}
