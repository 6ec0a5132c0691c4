#include "libcommon/mail/utf7.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* The code point at s and its length; length 0 when it is not valid. */
static uint32_t utf8_next(struct slice s, size_t *length) {
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    *length = 0;
    if (!n || s.n < n) return 0;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c < 0xe000)) return 0;
    *length = n;
    return c;
}

bool utf8_is_valid(struct slice s) {
    size_t n;
    for (; s.n; s = slice_skip(s, n)) {
        utf8_next(s, &n);
        if (!n) return false;
    }
    return true;
}

static void utf8_add(struct buf *out, uint32_t c) {
    if (c < 0x80) {
        buf_add_char(out, (char)c);
        return;
    }
    if (c >= 0x10000) {
        buf_add_char(out, (char)(0xf0 | c >> 18));
        buf_add_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
    } else if (c >= 0x800) {
        buf_add_char(out, (char)(0xe0 | c >> 12));
    } else {
        buf_add_char(out, (char)(0xc0 | c >> 6));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
        return;
    }
    buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
    buf_add_char(out, (char)(0x80 | (c & 0x3f)));
}

/* Writes UTF-16 in base 64, six bits at a time. */
struct shift {
    uint32_t bits;
    int count;
};

static void shift_add(struct shift *h, struct buf *out, uint32_t unit) {
    h->bits = h->bits << 16 | unit;
    h->count += 16;
    while (h->count >= 6) {
        h->count -= 6;
        buf_add_char(out, alphabet[h->bits >> h->count & 63]);
    }
    h->bits &= (1u << h->count) - 1;
}

static void shift_end(struct shift *h, struct buf *out) {
    if (h->count) buf_add_char(out, alphabet[h->bits << (6 - h->count) & 63]);
    buf_add_char(out, '-');
    *h = (struct shift){0};
}

bool utf7_encode(struct slice s, struct buf *out) {
    struct shift h = {0};
    bool shifted = false;
    size_t before = out->n, n;
    for (; s.n; s = slice_skip(s, n)) {
        uint32_t c = utf8_next(s, &n);
        if (!n) {
            out->n = before;
            if (out->data) out->data[before] = 0;
            return false;
        }
        bool direct = c >= 0x20 && c < 0x7f;
        if (direct && shifted) shift_end(&h, out);
        if (!direct && !shifted) buf_add_char(out, '&');
        shifted = !direct;
        if (direct) {
            buf_add_char(out, (char)c);
            if (c == '&') buf_add_char(out, '-');
        } else if (c >= 0x10000) {
            shift_add(&h, out, 0xd800 + ((c - 0x10000) >> 10));
            shift_add(&h, out, 0xdc00 + ((c - 0x10000) & 0x3ff));
        } else {
            shift_add(&h, out, c);
        }
    }
    if (shifted) shift_end(&h, out);
    return true;
}

/* The base 64 between "&" and "-". */
static bool decode_shifted(struct slice s, struct buf *out) {
    uint32_t bits = 0, high = 0;
    int count = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *at = s.p[i] ? strchr(alphabet, s.p[i]) : NULL;
        if (!at) return false;
        bits = (bits << 6 | (uint32_t)(at - alphabet)) & 0xffffff;
        count += 6;
        if (count < 16) continue;
        count -= 16;
        uint32_t unit = bits >> count & 0xffff;
        if (high) {
            if (unit < 0xdc00 || unit > 0xdfff) return false;
            utf8_add(out, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
            high = 0;
        } else if (unit >= 0xd800 && unit < 0xdc00) {
            high = unit;
        } else if ((unit >= 0xdc00 && unit < 0xe000) || (unit >= 0x20 && unit < 0x7f)) {
            return false;
        } else {
            utf8_add(out, unit);
        }
    }
    return !high && count < 6 && (bits & ((1u << count) - 1)) == 0;
}

bool utf7_decode(struct slice s, struct buf *out) {
    size_t before = out->n;
    while (s.n) {
        unsigned char c = (unsigned char)*s.p;
        struct slice inside;
        if (c < 0x20 || c > 0x7e) break;
        s = slice_skip(s, 1);
        if (c != '&') {
            buf_add_char(out, (char)c);
            continue;
        }
        if (!slice_cut(&s, '-', &inside)) goto bad;
        if (!inside.n)
            buf_add_char(out, '&');
        else if (!decode_shifted(inside, out) || (s.n > 1 && s.p[0] == '&' && s.p[1] != '-'))
            goto bad; /* two adjacent runs of base 64, which must be one */
    }
    if (!s.n) return true;
bad:
    out->n = before;
    if (out->data) out->data[before] = 0;
    return false;
}
