/* Macros (RFC 7208 §7). */
#include <arpa/inet.h>

#include "libcommon/trust/spf.h"

enum { PARTS_MAX = 128 };

static void add_ip(struct buf *b, struct slice ip, bool dotted) {
    char text[64];
    unsigned char v6[16];
    if (ip.n >= sizeof text) return;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = 0;
    if (!dotted || inet_pton(AF_INET6, text, v6) != 1) {
        buf_add_slice(b, ip);
        return;
    }
    for (int i = 0; i < 16; i++) buf_printf(b, "%s%x.%x", i ? "." : "", v6[i] >> 4, v6[i] & 15); /* §7.3 */
}

static bool is_unreserved(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* The value of a macro letter, lower-cased letter given. false: no such letter here. */
static bool macro_value(char letter, const struct spf_query *q, struct slice sender, struct slice domain, struct slice validated, bool exp, struct buf *b) {
    ptrdiff_t at = slice_find_last(sender, '@');
    switch (letter) {
    case 's': buf_add_slice(b, sender); return true;
    case 'l': buf_add_slice(b, slice_head(sender, at < 0 ? 0 : (size_t)at)); return true;
    case 'o': buf_add_slice(b, slice_skip(sender, (size_t)(at + 1))); return true;
    case 'd': buf_add_slice(b, domain); return true;
    case 'i': add_ip(b, q->ip, true); return true;
    case 'p': buf_add_slice(b, validated.n ? validated : SLICE("unknown")); return true;
    case 'v': buf_add_str(b, slice_find(q->ip, ':') >= 0 ? "ip6" : "in-addr"); return true;
    case 'h': buf_add_slice(b, q->helo); return true;
    case 'c':
        if (exp) add_ip(b, q->ip, false);
        return exp;
    case 'r':
        if (exp) buf_add_slice(b, q->receiver.n ? q->receiver : SLICE("unknown"));
        return exp;
    case 't':
        if (exp) buf_printf(b, "%lld", (long long)q->now);
        return exp;
    }
    return false;
}

/* One "%{…}": spec begins behind the brace; *used: bytes up to and with the closing one. */
static int expand_one(struct slice spec, const struct spf_query *q, struct slice sender, struct slice domain, struct slice validated, bool exp, struct buf *out,
                      size_t *used) {
    ptrdiff_t close = slice_find(spec, '}');
    struct buf value = {0}, joined = {0};
    if (close < 1) return -1;
    *used = (size_t)close + 1;
    struct slice body = slice_head(spec, (size_t)close);
    char letter = body.p[0];
    bool escape = letter >= 'A' && letter <= 'Z', reverse = false;
    size_t i = 1, keep = 0;
    bool digits = false;
    for (; i < body.n && body.p[i] >= '0' && body.p[i] <= '9'; i++) {
        keep = keep * 10 + (size_t)(body.p[i] - '0');
        digits = true;
        if (keep > PARTS_MAX) keep = PARTS_MAX;
    }
    if (digits && !keep) return -1; /* §7.1: not zero */
    if (i < body.n && (body.p[i] == 'r' || body.p[i] == 'R')) reverse = true, i++;
    struct slice delimiters = slice_skip(body, i);
    for (size_t k = 0; k < delimiters.n; k++)
        if (!delimiters.p[k] || !strchr(".-+,/_=", delimiters.p[k])) return -1;
    if (!delimiters.n) delimiters = SLICE(".");
    if (!macro_value((char)(letter | 0x20), q, sender, domain, validated, exp, &value)) {
        buf_free(&value);
        return -1;
    }
    struct slice parts[PARTS_MAX], rest = buf_slice(&value);
    size_t count = 0, start = 0;
    for (size_t k = 0; k <= rest.n; k++)
        if (k == rest.n || memchr(delimiters.p, rest.p[k], delimiters.n)) {
            if (count == PARTS_MAX) break;
            parts[count++] = slice_make(rest.p + start, k - start);
            start = k + 1;
        }
    size_t first = keep && keep < count ? count - keep : 0;
    for (size_t k = first; k < count; k++) {
        /* the rightmost parts are kept, after reversing */
        struct slice part = reverse ? parts[count - 1 - k] : parts[k];
        if (k > first) buf_add_char(&joined, '.');
        buf_add_slice(&joined, part);
    }
    for (size_t k = 0; k < joined.n; k++) {
        if (escape && !is_unreserved(joined.data[k]))
            buf_printf(out, "%%%02X", (unsigned char)joined.data[k]);
        else
            buf_add_char(out, joined.data[k]);
    }
    buf_free(&value);
    buf_free(&joined);
    return 0;
}

int spf_expand(struct arena *arena, struct slice spec, const struct spf_query *q, struct slice sender, struct slice domain, struct slice validated, bool exp,
               struct slice *out) {
    struct buf b = {0};
    int failed = 0;
    for (size_t i = 0; i < spec.n && !failed; i++) {
        char c = spec.p[i];
        if (c != '%') {
            if ((unsigned char)c < 0x21 && !(exp && c == ' ')) failed = -1;
            buf_add_char(&b, c);
            continue;
        }
        char next = i + 1 < spec.n ? spec.p[i + 1] : 0;
        if (next == '%')
            buf_add_char(&b, '%'), i++;
        else if (next == '_')
            buf_add_char(&b, ' '), i++;
        else if (next == '-')
            buf_add_str(&b, "%20"), i++;
        else if (next == '{') {
            size_t used = 0;
            failed = expand_one(slice_skip(spec, i + 2), q, sender, domain, validated, exp, &b, &used);
            i += 1 + used;
        } else {
            failed = -1;
        }
        if (b.n > SPF_RECORD_MAX) failed = -1;
    }
    struct slice name = buf_slice(&b);
    if (!exp) { /* §7.3: of a name that is too long, labels are cut from the left */
        if (name.n && name.p[name.n - 1] == '.') name.n--;
        while (name.n > 253) {
            ptrdiff_t dot = slice_find(name, '.');
            name = dot < 0 ? slice_head(name, 0) : slice_skip(name, (size_t)dot + 1);
        }
    }
    *out = arena_slice(arena, name);
    buf_free(&b);
    return failed;
}
