#include "services/cli/mailbox/imap/command.h"

#include <stdio.h>

enum { ANSWERS_MAX = 20000000 /* of one command */ };

static enum source_result lost(struct source *s, const char *why) {
    snprintf(s->why, sizeof s->why, "%s", why);
    return SOURCE_LOST;
}

/* The server's own words, without what could confuse a terminal. */
static void keep_reason(struct source *s, const struct imap_answer *a) {
    struct slice text = slice_head(a->text, 300);
    size_t n = 0;
    n += (size_t)snprintf(s->why, sizeof s->why, "the server says: ");
    for (size_t i = 0; i < text.n && n < sizeof s->why - 1; i++)
        s->why[n++] = (unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f ? '?' : text.p[i];
    s->why[n] = 0;
}

enum source_result command_read(struct source *s, struct imap_answer *answer, bool *cut) {
    arena_reset(s->arena);
    if (imap_wire_read(&s->wire, &s->answer, cut) != 0) return lost(s, s->wire.why);
    if (imap_answer_read(buf_slice(&s->answer), s->arena, answer) != 0)
        return lost(s, "the server sent an answer that is not IMAP");
    if (answer->kind != IMAP_STATUS || answer->status != IMAP_BYE) return SOURCE_OK;
    keep_reason(s, answer);
    return SOURCE_LOST;
}

static enum source_result run(struct source *s, struct slice command, struct slice continuation,
                              command_answer_fn *tell, void *ctx) {
    struct buf line = {0};
    char tag[16];
    snprintf(tag, sizeof tag, "p%u", ++s->tag);
    buf_printf(&line, "%s ", tag);
    buf_add_slice(&line, command);
    buf_add_str(&line, "\r\n");
    int sent = imap_wire_send(&s->wire, buf_slice(&line));
    explicit_bzero(line.data, line.n);
    buf_free(&line);
    if (sent != 0) return lost(s, s->wire.why);
    for (size_t i = 0; i < ANSWERS_MAX; i++) {
        struct imap_answer a;
        bool cut;
        enum source_result result = command_read(s, &a, &cut);
        if (result != SOURCE_OK) return result;
        if (a.kind == IMAP_CONTINUE) {
            if (imap_wire_send(&s->wire, continuation) != 0 || imap_wire_send(&s->wire, SLICE("\r\n")) != 0)
                return lost(s, s->wire.why);
            continuation = SLICE("*"); /* a second question: the exchange is cancelled (RFC 9051 §6.2.2) */
        } else if (slice_is(a.tag, tag)) {
            if (a.status == IMAP_OK) return SOURCE_OK;
            keep_reason(s, &a);
            return SOURCE_NO;
        } else if (slice_is(a.tag, "*") && tell && !tell(ctx, &a, cut)) {
            return lost(s, "the server sent too much");
        }
    }
    return lost(s, "the server sent too much");
}

enum source_result command_run(struct source *s, struct slice command, command_answer_fn *tell, void *ctx) {
    return run(s, command, SLICE("*"), tell, ctx);
}

enum source_result command_continue(struct source *s, struct slice command, struct slice continuation) {
    return run(s, command, continuation, NULL, NULL);
}

bool command_add_string(struct source *s, struct slice text, struct buf *out) {
    buf_add_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (!text.p[i] || text.p[i] == '\r' || text.p[i] == '\n') {
            snprintf(s->why, sizeof s->why, "a string has a line end or NUL in it");
            return false;
        }
        if (text.p[i] == '"' || text.p[i] == '\\') buf_add_char(out, '\\');
        buf_add_char(out, text.p[i]);
    }
    buf_add_char(out, '"');
    return true;
}

bool command_can(const struct source *s, const char *capability) {
    return imap_word_has(buf_slice(&s->capabilities), capability);
}

static bool on_capabilities(void *ctx, const struct imap_answer *a, bool cut) {
    struct source *s = ctx;
    (void)cut;
    if (a->kind != IMAP_CAPABILITY) return true;
    buf_reset(&s->capabilities);
    buf_add_slice(&s->capabilities, a->text);
    return true;
}

enum source_result command_ask_capabilities(struct source *s) {
    buf_reset(&s->capabilities);
    return command_run(s, SLICE("CAPABILITY"), on_capabilities, s);
}
