#include "libcommon/report/report_uri.h"

#include <stdio.h>

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* RFC 3986 §2.1 into out of n bytes: its length, or -1. */
static ptrdiff_t percent_decode(struct slice s, char *out, size_t n) {
    size_t at = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0) return -1;
            c = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
            i += 2;
        }
        if (at + 1 >= n || c == 0) return -1;
        out[at++] = c;
    }
    out[at] = 0;
    return (ptrdiff_t)at;
}

/* "10m" → 10485760; 0 when it is no size (RFC 7489 §6.2: a digit string and an optional k, m, g,
 * t). */
static uint64_t read_size(struct slice s) {
    uint64_t n = 0;
    int shift = 0;
    if (s.n && !(s.p[s.n - 1] >= '0' && s.p[s.n - 1] <= '9')) {
        switch (s.p[s.n - 1] | 0x20) {
        case 'k': shift = 10; break;
        case 'm': shift = 20; break;
        case 'g': shift = 30; break;
        case 't': shift = 40; break;
        default: return 0;
        }
        s.n--;
    }
    return slice_to_u64(s, UINT64_MAX >> 41, &n) == 0 ? n << shift : 0;
}

static bool take_mailto(struct slice rest, struct report_uri *out) {
    char text[ADDRESS_BYTES_MAX];
    struct mail_address address;
    struct slice size = SLICE("");
    ptrdiff_t mark = slice_find_last(rest, '!'), question;
    if (mark >= 0) { /* a "!" of the address itself has to be percent-encoded (RFC 7489 §6.2) */
        size = slice_skip(rest, (size_t)mark + 1);
        rest = slice_head(rest, (size_t)mark);
        out->max_bytes = read_size(size);
        if (!out->max_bytes) return false;
    }
    question = slice_find(rest, '?'); /* header fields in the URI (RFC 6068 §2) are ignored: the
                                         report has its own */
    if (question >= 0) rest = slice_head(rest, (size_t)question);
    ptrdiff_t n = percent_decode(rest, text, sizeof text);
    if (n <= 0 || address_normalise(slice_make(text, (size_t)n), &address) != 0) return false;
    for (const char *c = address.local; *c; c++) /* an address that would have to be quoted in a
                                                    path is not used */
        if ((unsigned char)*c <= ' ' || strchr("\"\\()<>[]:;@,", *c)) return false;
    address_text(&address, out->address);
    memcpy(out->host, address.domain, sizeof out->host);
    return true;
}

static bool take_https(struct slice whole, struct slice rest, struct report_uri *out) {
    size_t end = 0;
    while (end < rest.n && !strchr("/?#", rest.p[end])) end++;
    struct slice authority = slice_head(rest, end), host = authority;
    if (slice_find(authority, '@') >= 0 || whole.n >= sizeof out->url) return false; /* no names and passwords */
    ptrdiff_t colon = slice_find_last(authority, ':');
    if (colon >= 0) host = slice_head(authority, (size_t)colon);
    for (size_t i = 0; i < whole.n; i++)
        if ((unsigned char)whole.p[i] <= ' ' || (unsigned char)whole.p[i] >= 0x7f) return false;
    if (domain_normalise(host, out->host) != 0) return false;
    memcpy(out->url, whole.p, whole.n);
    out->url[whole.n] = 0;
    return true;
}

bool report_uri_next(struct slice *rest, struct report_uri *out) {
    while (rest->n) {
        struct slice one;
        if (!slice_cut(rest, ',', &one)) {
            one = *rest;
            rest->n = 0;
        }
        one = slice_trim(one);
        memset(out, 0, sizeof *out);
        if (slice_starts_nocase(one, SLICE("mailto:"))) {
            out->scheme = REPORT_MAILTO;
            if (take_mailto(slice_skip(one, 7), out)) return true;
        } else if (slice_starts_nocase(one, SLICE("https://"))) {
            out->scheme = REPORT_HTTPS;
            if (take_https(one, slice_skip(one, 8), out)) return true;
        }
    }
    return false;
}
