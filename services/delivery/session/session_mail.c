#include "services/delivery/session/session_mail.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "services/delivery/limits.h"

static void free_answers(struct session *s) {
    for (size_t i = 0; s->answers && i < s->transaction->count; i++) free(s->answers[i].text);
    free(s->answers);
    s->answers = NULL;
}

static bool may_go_on(const struct session *s) { return s->transaction->owner->may_go_on(s->transaction->owner->ctx); }

/* The transaction has ended; the connection can be used for the next one, unless the server accepts
 * no more. */
static void end_transaction(struct session *s) {
    struct transaction *t = s->transaction;
    free_answers(s);
    body_drop(s->set.bodies, &s->body);
    s->transaction = NULL;
    transaction_drop(t);
    if (s->phase == CLOSED) return;
    if (s->reply.code == 421) {
        session_close(s, "the server closed the connection (421)");
    } else if (s->transactions >= SESSION_TRANSACTIONS_MAX || (s->mail_max && s->transactions >= s->mail_max)) {
        stream_write(s->stream, SLICE("QUIT\r\n"));
        session_close(s, "the connection has had its transactions");
    } else {
        session_idle(s);
    }
}

/* Closes without a further command to the server: the worker that has the lease now continues. */
static void abandon(struct session *s) {
    struct transaction *t = s->transaction;
    free_answers(s);
    body_drop(s->set.bodies, &s->body);
    s->transaction = NULL;
    transaction_drop(t);
    if (s->phase == CLOSED) return;
    session_cut(s);
    session_wake_owner(s);
}

static void keep_answer(const struct session *s, struct rcpt_answer *to) {
    struct buf text = {0};
    smtp_reply_text(&s->reply, &text);
    free(to->text);
    to->code = s->reply.code;
    snprintf(to->enhanced, sizeof to->enhanced, "%s", s->reply.enhanced);
    to->text = memory_copy(buf_slice(&text));
    buf_free(&text);
}

static struct outcome outcome_of(const struct session *s, const struct rcpt_answer *a) {
    int class = a->code / 100;
    return (struct outcome){.kind = class == 2   ? OUTCOME_SENT
                                    : class == 5 ? OUTCOME_BOUNCED
                                                 : OUTCOME_DEFERRED,
                            .code = a->code,
                            .enhanced = a->text ? a->enhanced : "4.4.2",
                            .reason = a->text ? a->text : "the server gave no answer",
                            .host = s->host,
                            .dsn_passed_on = s->dsn};
}

/* Settles the recipients that were answered; those for which the server had no room go into the
 * next transaction. */
static void settle_answers(struct session *s) {
    struct transaction *t = s->transaction;
    size_t count = s->no_room_from < t->count ? s->no_room_from : t->count;
    struct outcome *o = memory_alloc((count + 1) * sizeof *o);
    json_t *details = json_pack("{s:s,s:i,s:s,s:s,s:s}", "ip", s->ip, "port", s->set.port, "tls", s->tls_version,
                                "cipher", s->tls_cipher, "tls_verified", s->tls_verified);
    struct transaction *rest = transaction_split(t, count);
    for (size_t i = 0; i < count; i++) {
        o[i] = outcome_of(s, &s->answers[i]);
        o[i].details = details;
    }
    t->owner->settle(t->owner->ctx, count, t->indexes, o);
    s->answered++;
    for (size_t i = count; rest && i < count + rest->count; i++) free(s->answers[i].text);
    s->left_over = rest;
    json_decref(details);
    free(o);
    end_transaction(s);
}

/* Settles all recipients with the same outcome, which is not a reply of the server: it was not
 * asked, or cannot accept this message. */
static void settle_all(struct session *s, enum outcome_kind kind, int code, const char *enhanced, const char *why,
                       bool ours) {
    struct transaction *t = s->transaction;
    struct outcome *o = memory_alloc((t->count + 1) * sizeof *o);
    for (size_t i = 0; i < t->count; i++)
        o[i] = (struct outcome){.kind = kind,
                                .code = code,
                                .enhanced = enhanced,
                                .reason = why,
                                .host = ours ? "" : s->host,
                                .retry_ms = ours ? 10000 : 0,
                                .not_counted = ours};
    t->owner->settle(t->owner->ctx, t->count, t->indexes, o);
    free(o);
    end_transaction(s);
}

static void send_rcpt(struct session *s, size_t i) {
    const struct envelope_rcpt *r = transaction_rcpt(s->transaction, i);
    stream_printf(s->stream, "RCPT TO:<%.*s>", SLICE_FMT(r->address));
    if (s->dsn && r->notify.n) stream_printf(s->stream, " NOTIFY=%.*s", SLICE_FMT(r->notify));
    if (s->dsn && r->orcpt.n) stream_printf(s->stream, " ORCPT=%.*s", SLICE_FMT(r->orcpt));
    stream_write(s->stream, SLICE("\r\n"));
}

void mail_start(struct session *s) {
    struct transaction *t = s->transaction;
    const struct envelope *e = t->owner->envelope;
    s->answers = memory_alloc((t->count + 1) * sizeof *s->answers);
    s->rcpt_at = s->rcpt_good = s->sent = 0;
    s->no_room_from = SIZE_MAX;
    s->stuffing = (struct stuffing){0};
    s->data_sent = s->body_whole = s->empty_data = s->mail_refused = false;
    if (!may_go_on(s)) {
        struct transaction *lost = s->transaction;
        free_answers(s);
        s->transaction = NULL;
        transaction_drop(lost);
        session_idle(s);
        return;
    }
    s->reply.code = 0; /* of the previous transaction */
    if (e->smtputf8 && !s->smtputf8) {
        settle_all(s, OUTCOME_BOUNCED, 550, "5.6.7", "the message needs SMTPUTF8, which the server does not offer",
                   false);
        return;
    }
    if (s->size && s->size_max && e->size > s->size_max) { /* RFC 1870 §6.1 */
        settle_all(s, OUTCOME_BOUNCED, 552, "5.3.4", "the message is larger than the server takes", false);
        return;
    }
    stream_set_timeout(s->stream, SMTP_COMMAND_MS);
    if (s->rset_owed) stream_write(s->stream, SLICE("RSET\r\n"));
    stream_printf(s->stream, "MAIL FROM:<%.*s>", SLICE_FMT(t->from));
    if (s->size) stream_printf(s->stream, " SIZE=%llu", (unsigned long long)e->size);
    if (s->eight_bit && e->body != BODY_7BIT) stream_write(s->stream, SLICE(" BODY=8BITMIME"));
    if (e->smtputf8) stream_write(s->stream, SLICE(" SMTPUTF8"));
    if (e->require_tls) stream_write(s->stream, SLICE(" REQUIRETLS"));
    if (s->dsn && e->ret.n) stream_printf(s->stream, " RET=%.*s", SLICE_FMT(e->ret));
    if (s->dsn && e->envid.n) stream_printf(s->stream, " ENVID=%.*s", SLICE_FMT(e->envid));
    stream_write(s->stream, SLICE("\r\n"));
    s->phase = s->rset_owed ? RSET : MAIL;
    if (!s->pipelining) return;
    for (size_t i = 0; i < t->count; i++) send_rcpt(s, i);
    /* For a server without 8BITMIME the body must be checked before DATA, and memory for a large
     * body is not reserved while the server handles RCPT. */
    s->data_sent = s->eight_bit && e->size <= DELIVERY_PIPELINED_BODY;
    if (s->data_sent) stream_write(s->stream, SLICE("DATA\r\n"));
}

static bool is_seven_bit(struct slice text) {
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] & 0x80) return false;
    return true;
}

/* All recipients are answered and at least one is accepted: reads the body, then sends DATA unless
 * it was pipelined. */
static void want_body(struct session *s) {
    const struct envelope *e = s->transaction->owner->envelope;
    if (!s->body.body) body_want(s->set.bodies, &s->body, e->id, (size_t)e->size, &s->life);
}

/* The body cannot be read, or cannot be sent to this server. After a pipelined DATA the server
 * waits for a text, so the connection must be closed. */
static void without_body(struct session *s, int error, bool eight_bit) {
    bool gone = error == STORE_NOT_FOUND || error == STORE_INVALID;
    if (s->data_sent) {
        session_cut(s);
    } else {
        s->rset_owed = true;
    }
    if (eight_bit)
        settle_all(s, OUTCOME_BOUNCED, 554, "5.6.3",
                   "the message has 8-bit text, and the server takes 7-bit text only (no 8BITMIME, RFC 6152)", false);
    else if (gone)
        settle_all(s, OUTCOME_BOUNCED, 554, "5.3.0", "the message's body is lost", true);
    else
        settle_all(s, OUTCOME_DEFERRED, 451, "4.3.0", "the message store cannot be reached", true);
    if (s->phase == CLOSED) session_wake_owner(s);
}

/* Gives the stream the next pieces of the message; at its end the final dot, after all output
 * before it was passed to the kernel, so that a process that was stopped in between first checks
 * whether the lease still holds. */
static void send_body(struct session *s, struct slice text) {
    struct buf out = {0};
    while (!s->body_whole && stream_pending_output(s->stream) < SMTP_WRITE_AHEAD) {
        struct slice piece = slice_head(slice_skip(text, s->sent), SMTP_WRITE_AHEAD / 4);
        stuffing_add(&s->stuffing, piece, &out);
        s->sent += piece.n;
        if (s->sent == text.n) {
            stuffing_end(&s->stuffing, &out);
            s->body_whole = true;
            if (text.n < SMTP_WRITE_AHEAD / 4 && may_go_on(s)) { /* small: it is sent together with its end */
                buf_add_str(&out, ".\r\n");
                s->phase = FINAL;
            }
        }
        stream_write(s->stream, buf_slice(&out));
        buf_reset(&out);
    }
    buf_free(&out);
    if (s->phase == BODY && s->body_whole && stream_pending_output(s->stream) == 0) {
        if (!may_go_on(s)) {
            abandon(s);
            return;
        }
        stream_write(s->stream, SLICE(".\r\n"));
        s->phase = FINAL;
    }
    if (s->phase == FINAL) {
        stream_set_timeout(s->stream, SMTP_DATA_END_MS);
        body_drop(s->set.bodies, &s->body);
    }
}

void mail_go_on(struct session *s) {
    struct slice text;
    if (!s->transaction || (s->phase != DATA_WAIT && s->phase != BODY)) return;
    if (s->empty_data) return;
    int there = body_state(&s->body, &text);
    if (there == 0) return;
    if (!may_go_on(s)) {
        abandon(s);
    } else if (there < 0) {
        without_body(s, there, false);
    } else if (s->phase == BODY) {
        send_body(s, text);
    } else if (!s->eight_bit && !is_seven_bit(text)) {
        without_body(s, 0, true);
    } else {
        s->phase = DATA;
        s->data_sent = true;
        stream_write(s->stream, SLICE("DATA\r\n"));
    }
}

void mail_on_lost(struct session *s, const char *why) {
    struct transaction *t = s->transaction;
    bool fresh = s->used_before && (s->phase == MAIL || s->phase == RSET);
    if (!why) { /* ended by this side, without an outcome */
        abandon(s);
        return;
    }
    if (fresh) { /* the server had closed the idle connection: tried again on another one */
        free_answers(s);
        s->transaction = NULL;
        s->left_over = t;
        return;
    }
    s->broke = true;
    /* permanent refusals stay; the others are tried again */
    size_t count = t->count;
    struct outcome *o = memory_alloc((count + 1) * sizeof *o);
    for (size_t i = 0; i < count; i++) {
        const struct rcpt_answer *a = &s->answers[i];
        o[i] = outcome_of(s, a);
        if (a->code / 100 != 2 && a->text) continue;
        o[i] =
            (struct outcome){.kind = OUTCOME_DEFERRED, .code = 0, .enhanced = "4.4.2", .reason = why, .host = s->host};
    }
    t->owner->settle(t->owner->ctx, count, t->indexes, o);
    free(o);
    free_answers(s);
    body_drop(s->set.bodies, &s->body);
    s->transaction = NULL;
    transaction_drop(t);
}

static void lose(struct session *s, const char *what) {
    mail_on_lost(s, what);
    session_close(s, what);
}

static void after_last_rcpt(struct session *s) {
    if (s->rcpt_good) {
        want_body(s);
        s->phase = s->data_sent ? DATA : DATA_WAIT;
        mail_go_on(s);
    } else if (s->data_sent) {
        s->phase = DATA; /* its reply is pending: an error, or the server expects a text
                            nevertheless */
    } else {
        s->rset_owed = true;
        settle_answers(s);
    }
}

static void on_rcpt(struct session *s) {
    struct transaction *t = s->transaction;
    if (s->mail_refused) {
        if (++s->rcpt_at == t->count) after_last_rcpt(s);
        return;
    }
    keep_answer(s, &s->answers[s->rcpt_at]);
    /* RFC 5321 §4.5.3.1.10: too many recipients; a full mailbox (4.2.2) is different */
    bool no_room = s->reply.code == 452 && s->rcpt_good &&
                   (strcmp(s->reply.enhanced, "4.5.3") == 0 || !s->reply.given_enhanced ||
                    strcmp(s->reply.enhanced, "4.3.1") == 0);
    if (no_room && s->no_room_from == SIZE_MAX) s->no_room_from = s->rcpt_at;
    if (s->reply.code / 100 == 2 &&
        s->no_room_from != SIZE_MAX) { /* accepted nevertheless: it is in this transaction */
        size_t i = s->no_room_from++;
        struct rcpt_answer swap = s->answers[i];
        size_t index = t->indexes[i];
        s->answers[i] = s->answers[s->rcpt_at];
        t->indexes[i] = t->indexes[s->rcpt_at];
        s->answers[s->rcpt_at] = swap;
        t->indexes[s->rcpt_at] = index;
    }
    if (s->reply.code / 100 == 2) s->rcpt_good++;
    if (++s->rcpt_at < t->count) {
        if (!s->pipelining) send_rcpt(s, s->rcpt_at);
    } else {
        after_last_rcpt(s);
    }
}

static void on_data(struct session *s) {
    int class = s->reply.code / 100;
    if (s->reply.code == 354 && !s->rcpt_good) { /* RFC 2920 §3.1: no recipient was accepted, but
                                                    the server expects a text: only the dot is
                                                    sent */
        s->empty_data = true;
        s->phase = BODY;
        stream_write(s->stream, SLICE(".\r\n"));
    } else if (s->reply.code == 354) {
        s->phase = BODY;
        stream_set_timeout(s->stream, SMTP_DATA_MS);
        mail_go_on(s);
    } else if (class == 4 || class == 5) {
        for (size_t i = 0; i < s->transaction->count; i++)
            if (s->answers[i].code / 100 == 2) keep_answer(s, &s->answers[i]);
        s->rset_owed = true;
        settle_answers(s);
    } else { /* no other reply to DATA is valid (§4.3.2); in particular, a 2xx does not mean
                acceptance, because there was no text yet */
        lose(s, "the server answered DATA with something else than 354 or an error");
    }
}

void mail_on_reply(struct session *s) {
    int class = s->reply.code / 100;
    struct transaction *t = s->transaction;
    switch (s->phase) {
    case RSET:
        s->rset_owed = false;
        s->phase = MAIL;
        if (class != 2) lose(s, "the server refused RSET");
        break;
    case MAIL:
        if (s->reply.code == 421) {
            struct buf text = {0};
            smtp_reply_text(&s->reply, &text);
            lose(s, buf_str(&text));
            buf_free(&text);
        } else if (class != 2) { /* the reply to MAIL applies to all recipients */
            for (size_t i = 0; i < t->count; i++) keep_answer(s, &s->answers[i]);
            s->mail_refused = s->pipelining; /* the replies to RCPT and DATA still arrive, and are
                                                ignored */
            s->phase = RCPT;
            if (!s->pipelining) settle_answers(s);
        } else {
            s->phase = RCPT;
            if (!s->pipelining) send_rcpt(s, 0);
        }
        break;
    case RCPT: on_rcpt(s); break;
    case DATA: on_data(s); break;
    case BODY:
        if (s->empty_data) {
            settle_answers(s);
            break;
        }
        lose(s, "the server answered before the end of the message");
        break;
    case FINAL: /* the reply applies to every accepted recipient */
        for (size_t i = 0; i < t->count; i++)
            if (s->answers[i].code / 100 == 2) keep_answer(s, &s->answers[i]);
        settle_answers(s);
        break;
    default: lose(s, "the server speaks though nothing was asked"); break;
    }
}
