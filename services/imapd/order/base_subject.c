#include "services/imapd/order/base_subject.h"

#include "libcommon/mail/encoded_word.h"
#include "libcommon/mail/header.h"

/* Each take_ function removes what it is named after from the beginning of *s (ABNF: RFC 5256 §5),
 * or returns false and leaves *s. */

static bool is_space(char c) { return c == ' ' || c == '\t'; }

static void skip_spaces(struct slice *s) {
    while (s->n && is_space(*s->p)) *s = slice_skip(*s, 1);
}

/* BLOBCHAR has no "[", "]" and no 8-bit character. */
static bool take_blob(struct slice *s) {
    size_t i = 1;
    if (!s->n || *s->p != '[') return false;
    while (i < s->n && s->p[i] != '[' && s->p[i] != ']' && (unsigned char)s->p[i] < 0x80) i++;
    if (i == s->n || s->p[i] != ']') return false;
    *s = slice_skip(*s, i + 1);
    skip_spaces(s);
    return true;
}

static bool take_refwd(struct slice *s) {
    struct slice rest;
    if (slice_starts_nocase(*s, SLICE("re")))
        rest = slice_skip(*s, 2);
    else if (slice_starts_nocase(*s, SLICE("fwd")))
        rest = slice_skip(*s, 3);
    else if (slice_starts_nocase(*s, SLICE("fw")))
        rest = slice_skip(*s, 2);
    else
        return false;
    skip_spaces(&rest);
    take_blob(&rest);
    if (!rest.n || *rest.p != ':') return false;
    *s = slice_skip(rest, 1);
    return true;
}

/* subj-leader: a space, or "Re:" behind any number of blobs. */
static bool take_leader(struct slice *s, bool *reply) {
    struct slice rest = *s;
    if (s->n && is_space(*s->p)) {
        skip_spaces(s);
        return true;
    }
    while (take_blob(&rest)) continue;
    if (!take_refwd(&rest)) return false;
    *s = rest;
    *reply = true;
    return true;
}

static bool take_trailer(struct slice *s, bool *reply) {
    if (s->n && is_space(s->p[s->n - 1])) {
        s->n--;
        return true;
    }
    if (s->n < 5 || !slice_is_nocase(slice_skip(*s, s->n - 5), "(fwd)")) return false;
    s->n -= 5;
    *reply = true;
    return true;
}

/* A blob goes if something else remains. */
static bool take_needless_blob(struct slice *s) {
    struct slice rest = *s;
    if (!take_blob(&rest) || !rest.n) return false;
    *s = rest;
    return true;
}

static bool take_forward(struct slice *s) {
    const struct slice begin = SLICE("[fwd:");
    if (!slice_starts_nocase(*s, begin) || s->n == begin.n || s->p[s->n - 1] != ']') return false;
    *s = slice_skip(slice_head(*s, s->n - 1), begin.n);
    return true;
}

static void collapse_spaces(struct slice text, struct buf *out) {
    for (size_t i = 0; i < text.n; i++) {
        char c = is_space(text.p[i]) || text.p[i] == '\r' || text.p[i] == '\n' ? ' ' : text.p[i];
        if (c != ' ' || !i || !out->n || out->data[out->n - 1] != ' ') buf_add_char(out, c);
    }
}

bool base_subject(struct slice value, struct buf *out) {
    struct buf unfolded = {0}, decoded = {0}, flat = {0};
    bool reply = false;
    header_unfold(value, &unfolded);
    encoded_word_decode(buf_slice(&unfolded), &decoded);
    collapse_spaces(buf_slice(&decoded), &flat);
    struct slice s = buf_slice(&flat);
    do {
        while (take_trailer(&s, &reply)) continue;
        while (take_leader(&s, &reply) || take_needless_blob(&s)) continue;
        if (!take_forward(&s)) break;
        reply = true;
    } while (true);
    buf_add_slice(out, s);
    buf_free(&unfolded);
    buf_free(&decoded);
    buf_free(&flat);
    return reply;
}
