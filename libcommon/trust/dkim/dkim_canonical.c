/* Canonical forms of header fields. */
#include "libcommon/trust/dkim/dkim_header.h"

static bool is_blank(char c) { return c == ' ' || c == '\t'; }
static bool is_space(char c) { return is_blank(c) || c == '\r' || c == '\n'; }

static struct slice without_crlf(struct slice raw) {
    if (raw.n >= 2 && memcmp(raw.p + raw.n - 2, "\r\n", 2) == 0) raw.n -= 2;
    return raw;
}

/* §3.4.2: the name in lower case, the value unfolded, each run of WSP one space, none at its ends.
 * WSP is space and tab: a single CR or LF is data. */
static void canonical_relaxed(struct slice raw, struct buf *out) {
    ptrdiff_t colon = slice_find(raw, ':');
    struct slice name = slice_head(raw, colon < 0 ? raw.n : (size_t)colon),
                 value = slice_skip(raw, (size_t)(colon + 1));
    char *at = buf_reserve(out, raw.n + 4);
    size_t n = 0;
    while (name.n && is_blank(name.p[name.n - 1])) name.n--;
    for (size_t i = 0; i < name.n; i++)
        at[n++] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i];
    at[n++] = ':';
    size_t start = n;
    bool blank = false;
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\r' && i + 1 < value.n &&
            value.p[i + 1] == '\n') { /* inside a field a CRLF is always a fold (RFC 5322 §2.2.3) */
            i++;
        } else if (is_blank(c)) {
            blank = true;
        } else {
            if (blank && n > start) at[n++] = ' ';
            blank = false;
            at[n++] = c;
        }
    }
    out->n += n;
    out->data[out->n] = 0;
}

void dkim_canonical_field(struct slice raw, bool relaxed, struct buf *out) {
    raw = without_crlf(raw);
    if (relaxed)
        canonical_relaxed(raw, out);
    else
        buf_add_slice(out, raw);
    buf_add(out, "\r\n", 2);
}

void dkim_field_without_b(struct slice raw, bool relaxed, struct buf *out) {
    /* the tag itself, not the same text in the value of another tag; only the value and the white
     * space around it are removed (§3.7) */
    struct buf field = {0};
    raw = without_crlf(raw);
    for (size_t i = (size_t)(slice_find(raw, ':') + 1); i < raw.n;) {
        const char *semicolon = memchr(raw.p + i, ';', raw.n - i);
        size_t end = semicolon ? (size_t)(semicolon - raw.p) : raw.n, name = i;
        while (name < end && is_space(raw.p[name])) name++;
        size_t equals = name + 1;
        while (equals < end && is_space(raw.p[equals])) equals++;
        if (name < end && raw.p[name] == 'b' && equals < end && raw.p[equals] == '=') {
            buf_add(&field, raw.p, equals + 1);
            buf_add(&field, raw.p + end, raw.n - end);
            raw = buf_slice(&field);
            break;
        }
        i = end + 1;
    }
    if (relaxed)
        canonical_relaxed(raw, out);
    else
        buf_add_slice(out, raw);
    buf_free(&field);
}
