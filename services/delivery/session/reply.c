#include "services/delivery/session/reply.h"

#include <stdio.h>

#include "services/delivery/limits.h"

void smtp_reply_reset(struct smtp_reply *r) {
    buf_reset(&r->text);
    *r = (struct smtp_reply){.text = r->text};
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* "5.1.1 " at the start of a reply's text (RFC 3463 §2): its length, or 0. */
static size_t enhanced_length(struct slice text, int code) {
    size_t n = 0;
    if (text.n < 5 || text.p[0] - '0' != code / 100 || text.p[1] != '.') return 0;
    n = 2;
    for (int part = 0; part < 2; part++) {
        size_t digits = 0;
        while (n < text.n && is_digit(text.p[n])) n++, digits++;
        if (digits < 1 || digits > 3) return 0;
        if (part == 0 && (n >= text.n || text.p[n] != '.')) return 0;
        if (part == 0) n++;
    }
    return n < text.n && text.p[n] != ' ' ? 0 : n;
}

int smtp_reply_add(struct smtp_reply *r, struct slice line) {
    if (line.n < 3 || !is_digit(line.p[0]) || !is_digit(line.p[1]) || !is_digit(line.p[2]) || line.p[0] < '2' ||
        line.p[0] > '5')
        return -1;
    if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-') return -1;
    int code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    if (r->lines && code != r->code) return -1; /* §4.2.1: the same code on every line */
    if (++r->lines > SMTP_REPLY_LINES_MAX) return -1;
    r->code = code;
    struct slice text = slice_skip(line, 4);
    size_t n = enhanced_length(text, code);
    if (r->lines == 1) snprintf(r->enhanced, sizeof r->enhanced, "%d.0.0", code / 100);
    if (n && !r->given_enhanced) {
        snprintf(r->enhanced, sizeof r->enhanced, "%.*s", SLICE_FMT(slice_head(text, n)));
        r->given_enhanced = true;
    }
    if (r->text.n + text.n < SMTP_REPLY_TEXT_MAX) {
        if (r->lines > 1) buf_add_char(&r->text, '\n');
        buf_add_slice(&r->text, text);
    }
    return line.n > 3 && line.p[3] == '-' ? 0 : 1;
}

bool smtp_reply_offers(const struct smtp_reply *r, const char *extension, struct slice *value) {
    struct slice rest = buf_slice(&r->text), line;
    bool first = true;
    for (bool more = rest.n > 0; more;) {
        more = slice_cut(&rest, '\n', &line);
        if (!more) line = rest;
        struct slice word = line;
        *value = SLICE("");
        if (slice_cut(&line, ' ', &word)) *value = slice_trim(line);
        if (!first && slice_is_nocase(slice_trim(word), extension)) return true;
        first = false;
    }
    return false;
}

void smtp_reply_text(const struct smtp_reply *r, struct buf *out) {
    buf_printf(out, "%d ", r->code);
    for (size_t i = 0; i < r->text.n; i++) {
        unsigned char c = (unsigned char)r->text.data[i];
        buf_add_char(out, c == '\n' || c < ' ' ? ' ' : c >= 0x7f ? '?' : (char)c);
    }
}
