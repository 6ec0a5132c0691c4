/* DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030): the text arrives, its bounds are checked, and the
 * hashes for its signatures are computed, all in one pass. */
#include "libcommon/base/clock.h"
#include "libcommon/mail/header.h"
#include "services/smtpd/smtpd.h"

enum { PIECE_MAX = 64 * 1024 };

static bool may_start(struct session *s, const char *what) {
    if (!s->t.has_from)
        session_refuse(s, "503 5.5.1 Send MAIL and RCPT before %s", what);
    else if (!s->t.rcpt_accepted)
        session_refuse(s, "554 5.5.1 No valid recipients");
    else
        return true;
    return false;
}

/* The text begins: its time limit starts here (deadline.c). */
static void expect_text(struct session *s, enum session_mode mode) {
    s->mode = mode;
    s->t.data_since_us = clock_monotonic_us();
    s->t.data_bytes = 0;
    if (!s->t.text.n) message_begin(s);
}

static void data_done(struct session *s, const struct verdict *v) {
    if (v->code) {
        session_refuse_verdict(s, v);
        return;
    }
    expect_text(s, MODE_DATA);
    session_reply(s, "354 End data with <CRLF>.<CRLF>");
}

void cmd_data(struct session *s, struct slice argument) {
    if (argument.n) {
        session_refuse(s, "501 5.5.4 Syntax: DATA");
        return;
    }
    if (s->t.chunking) {
        session_refuse(s, "503 5.5.1 DATA is not allowed after BDAT"); /* RFC 3030 §2 */
        return;
    }
    if (may_start(s, "DATA")) session_check(s, STAGE_DATA, data_done);
}

void cmd_bdat(struct session *s, struct slice argument) {
    struct slice size = argument, last = SLICE("");
    uint64_t n;
    if (slice_cut(&argument, ' ', &size)) last = slice_trim(argument);
    if (slice_to_u64(size, UINT32_MAX, &n) != 0 || (last.n && !slice_is_nocase(last, "LAST"))) {
        /* it is unknown where the chunk ends and the next command begins */
        session_close(s, "501 5.5.4 Syntax: BDAT size [LAST], closing connection");
        return;
    }
    /* the chunk follows in any case (RFC 3030 §2), so it is always read; without a transaction it
     * is discarded */
    s->t.chunking = true;
    s->t.chunk_left = n;
    s->t.chunk_last = last.n > 0;
    expect_text(s, MODE_BDAT);
}

/* The whole relaxed body, which our ARC seal signs: known to be among them from then on. */
static void want_seal_hash(struct transaction *t) {
    for (size_t i = 0; i < t->hash_count; i++)
        if (t->hash_kinds[i].relaxed && t->hash_kinds[i].length < 0) return;
    t->hash_kinds[t->hash_count++] = (struct body_hash_kind){.relaxed = true, .length = -1};
}

/* The header block is complete: determines the body hashes that its signatures need. */
static void start_hashes(struct session *s) {
    struct transaction *t = &s->t;
    struct slice header = header_block(message_text(t), &t->body_at);
    t->header_seen = true;
    t->body_hashed_to = t->body_at;
    if (session_is_submission(s)) {
        t->hash_kinds[0] = (struct body_hash_kind){.relaxed = true, .length = -1}; /* for our signature */
        t->hash_count = 1;
    } else {
        t->hash_count = body_hash_wanted(header, t->hash_kinds);
        if (forward_domain(s)) want_seal_hash(t);
    }
    for (size_t i = 0; i < t->hash_count; i++) t->hashes[i] = body_hash_create(t->hash_kinds[i]);
}

/* Hashes the text after its first `before` bytes. */
static void hash_new_text(struct session *s, size_t before) {
    struct transaction *t = &s->t;
    struct slice text = message_text(t);
    if (!t->header_seen) {
        struct slice recent = slice_skip(text, before > 3 ? before - 3 : 0);
        if (!slice_starts(text, SLICE("\r\n")) && !memmem(recent.p, recent.n, "\r\n\r\n", 4)) {
            if (text.n > SMTP_HEADER_MAX) t->too_big = true;
            return;
        }
        start_hashes(s);
    }
    struct slice body = slice_skip(text, t->body_hashed_to);
    for (size_t i = 0; i < t->hash_count; i++) body_hash_update(t->hashes[i], body);
    t->body_hashed_to = text.n;
}

static void finish_hashes(struct session *s) {
    struct transaction *t = &s->t;
    if (!t->header_seen) start_hashes(s);
    for (size_t i = 0; i < t->hash_count; i++) {
        body_hash_finish(t->hashes[i], t->digests[i], &t->hashed[i]);
        t->hashes[i] = NULL;
    }
}

/* Keeps the bounds: a message that exceeds one is read to its end, so that the client gets the
 * reason, but not stored. */
static void take_text(struct session *s, size_t before) {
    struct transaction *t = &s->t;
    if (!t->too_big && !t->no_memory) hash_new_text(s, before);
    if (message_text(t).n > s->smtpd->process->message_max) t->too_big = true;
    message_count(s);
    if (!t->too_big && !t->no_memory) return;
    buf_free(&t->text);
    message_begin(s);
}

/* Bounds and line ends. */
void check_text(struct checking *c) {
    const struct transaction *t = &c->session->t;
    if (t->too_big)
        check_reject(c, 552, "5.3.4", "Message too large");
    else if (t->no_memory)
        check_reject(c, 452, "4.3.1", "Insufficient system storage, try again later");
    else if (t->scan.bare)
        check_reject(c, 550, "5.6.11",
                     "The message has a CR or LF that is not part of a CRLF line end (RFC 5321 section 2.3.8)");
    else if (t->scan.nul)
        check_reject(c, 550, "5.6.0", "The message has a NUL byte (RFC 5322 section 4.1)");
    else if (header_count(message_header(t), "Received") > SMTP_HOPS_MAX)
        check_reject(c, 554, "5.4.6", "Too many hops, this is a mail loop (RFC 5321 section 6.3)");
}

static void end_done(struct session *s, const struct verdict *v) {
    if (v->code)
        message_refuse(s, v->code, v->enhanced, v->text);
    else
        commit_begin(s);
}

static void check_message(struct session *s) {
    struct transaction *t = &s->t;
    struct header_field field;
    queue_id_create(&s->smtpd->ids, t->id);
    if (header_find(message_header(t), "Message-ID", &field)) {
        struct slice id = slice_head(slice_trim(field.value), sizeof t->message_id - 1);
        for (size_t i = 0; i < id.n; i++) t->message_id[i] = id.p[i] > ' ' && id.p[i] <= '~' ? id.p[i] : '?';
    }
    session_check(s, STAGE_END, end_done);
}

static void text_complete(struct session *s) {
    s->mode = MODE_COMMAND;
    if (!s->t.too_big && !s->t.no_memory) finish_hashes(s);
    check_message(s);
}

static bool take_chunk(struct session *s) {
    struct transaction *t = &s->t;
    while (t->chunk_left) {
        struct slice piece = stream_bytes(s->stream, t->chunk_left < PIECE_MAX ? t->chunk_left : PIECE_MAX);
        if (!piece.n) return false;
        t->chunk_left -= piece.n;
        t->data_bytes += piece.n;
        if (t->rcpt_accepted && !t->too_big && !t->no_memory) {
            size_t before = message_text(t).n;
            smtp_check_text(&t->scan, piece);
            buf_add_slice(&t->text, piece);
            take_text(s, before);
        }
        stream_consume(s->stream, piece.n);
    }
    s->mode = MODE_COMMAND;
    if (!may_start(s, "BDAT")) {
        transaction_reset(s);
    } else if (t->chunk_last) {
        if (t->scan.state == SMTP_AFTER_CR) t->scan.bare = true;
        text_complete(s);
    } else {
        session_reply(s, "250 2.0.0 OK, chunk received");
    }
    return true;
}

bool data_take(struct session *s) {
    struct transaction *t = &s->t;
    if (s->mode == MODE_BDAT) return take_chunk(s);
    while (!t->scan.ended) {
        struct slice piece = stream_bytes(s->stream, PIECE_MAX);
        if (!piece.n) return false;
        size_t before = message_text(t).n, taken = smtp_take_text(&t->scan, piece, &t->text);
        t->data_bytes += taken;
        take_text(s, before);
        stream_consume(s->stream, taken);
    }
    text_complete(s);
    return true;
}
