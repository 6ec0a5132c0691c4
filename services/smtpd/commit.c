/* Stores an accepted message; only then is the client told 250 (docs/laws.md, law 1).
 *
 *   all recipients have a mailbox here   The body is written with their references, mostly while
 *                                        the checks ran (body.c), mailbox.deliver puts the message
 *                                        into their mailboxes, and the reply is 250. Recipients
 *                                        without an answer in time are put into the queue, and so
 *                                        are recipients that are refused while others are not, so
 *                                        that the sender gets a report. If all are refused, the
 *                                        reply is the refusal.
 *   others                               the queue
 *
 * A body that was written early has the bytes that were received; the header fields that the checks
 * and this server added are the message's prefix. Where fields must be dropped, the body is released
 * and the whole message written.
 *
 * A message that some mailboxes may have is not refused for the rest, because the client would repeat
 * it to all: the rest is put into the queue also when the store is at its memory limit (outbox.h).
 * It is deferred for lack of room only if no mailbox has it.
 *
 * In both cases a message gets into a mailbox once, by its id and the recipient (docs/laws.md, law
 * 2). A commit that has begun is completed also when the client disconnects. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/outbox/outbox.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/mailbox.h"
#include "libcommon/store/queue.h"
#include "services/smtpd/smtpd.h"

/* Part of the transaction's arena; holds the session. */
struct commit {
    struct session *session;
    struct envelope envelope;
    struct slice text; /* the body; the message is envelope.prefix and the body */
    size_t memory;
    struct buf listing;
    struct delivery delivery;
    struct mail_event_client client; /* the connection may be closed at the end */
    bool ended, queued;
    int code; /* of the reply; 250: the message is stored */
    char enhanced[8], reply[200];
};

/* The end */

static void say_accepted(struct commit *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    const struct envelope *e = &c->envelope;
    char reply[sizeof c->reply + 16];
    snprintf(reply, sizeof reply, "250 2.0.0 %s", c->reply);
    struct buf text = {0};
    struct mail_accepted event = {.queued = c->queued,
                                  .shard = c->queued ? queue_shard_of(slice_of(e->id)) : -1,
                                  .from = e->from,
                                  .message_id = e->message_id,
                                  .origin = e->origin == ORIGIN_SUBMISSION ? SLICE("submission") : SLICE("mx"),
                                  .reply = slice_of(reply),
                                  .sealed = slice_of(t->sealed),
                                  .size = e->size,
                                  .client = &c->client,
                                  .verdict = t->verified ? t->verified->proofs : SLICE(""),
                                  .rcpt_count = t->rcpt_count,
                                  .rcpts = message_event_rcpts(t)};
    if (mail_accepted_write(&event, &text))
        bus_publish_text(s->smtpd->worker->bus, "mail.accepted", slice_of(e->id), buf_slice(&text));
    buf_free(&text);
    metric_add(&smtpd_accepted, 1);
    metric_add(&smtpd_bytes, (int64_t)e->size);
    if (!c->queued) metric_add(&smtpd_delivered, 1);
    if (log_level_enabled(LOG_INFO))
        log_info("message accepted", "id", t->id, "from", t->from.p, "client", s->ip, "way",
                 c->queued ? "queue" : "mailbox", NULL);
}

/* The result is known; the session's loop sends it to the client, if it is still connected. */
static void end(struct commit *c, int code, const char *enhanced, const char *reply) {
    struct session *s = c->session;
    c->code = code;
    snprintf(c->enhanced, sizeof c->enhanced, "%s", enhanced);
    snprintf(c->reply, sizeof c->reply, "%s", reply);
    if (code == 250) say_accepted(c);
    atomic_fetch_sub(&s->smtpd->process->memory, c->memory);
    buf_free(&c->listing);
    c->ended = true;
    life_release(&s->life);
}

static void end_unstored(struct commit *c, int error) {
    log_warn("message not stored", "id", c->envelope.id, "reason", store_error_text(error), NULL);
    if (error == STORE_FULL)
        end(c, 452, "4.3.1", "Insufficient system storage, try again later");
    else
        end(c, 451, "4.3.0", "The message cannot be stored now, try again later");
}

bool commit_step(struct session *s) {
    struct commit *c = s->commit;
    if (!c->ended) return false;
    s->commit = NULL;
    if (c->code == 250) {
        s->prefetches = 0;
        session_reply(s, "250 %s %s", c->enhanced, c->reply);
        transaction_reset(s);
    } else {
        message_refuse(s, c->code, c->enhanced, c->reply);
    }
    return true;
}

/* Into the queue */

static void on_queued(void *ctx, int error) {
    struct commit *c = ctx;
    char reply[64];
    snprintf(reply, sizeof reply, "OK, queued as %s", c->envelope.id);
    if (error)
        end_unstored(c, error);
    else
        end(c, 250, "2.0.0", reply);
}

static void queue(struct commit *c) {
    const struct worker *w = c->session->smtpd->worker;
    c->queued = true;
    outbox_commit(w->redis, w->bus, &c->envelope, c->text, on_queued, c);
}

/* The body may no longer exist, if the mailbox service refused the last recipient after our time
 * limit. */
static void on_queued_stored(void *ctx, int error) {
    struct commit *c = ctx;
    if (error == STORE_NOT_FOUND)
        queue(c);
    else
        on_queued(c, error);
}

/* The body is stored already, under references that are the mailbox service's now. */
static void queue_stored(struct commit *c) {
    const struct worker *w = c->session->smtpd->worker;
    c->queued = true;
    outbox_commit_stored(w->redis, w->bus, &c->envelope, SLICE(""), on_queued_stored, c);
}

/* Into the mailboxes */

static bool is_temporary(const char *result) {
    return !result || strcmp(result, "unavailable") == 0 || strcmp(result, "full") == 0;
}

/* Every recipient was refused permanently, or the store is full. */
static void end_refused(struct commit *c, const char *result) {
    if (strcmp(result, "over_quota") == 0)
        end(c, 552, "5.2.2", "Mailbox full");
    else if (strcmp(result, "not_found") == 0)
        end(c, 550, "5.1.1", "No such mailbox here");
    else
        end(c, 550, "5.2.0", "The mailbox does not accept this message");
}

static void on_delivered(void *ctx, const struct deliver_outcome *const outcomes[]) {
    struct commit *c = ctx;
    struct envelope *e = &c->envelope;
    struct transaction *t = &c->session->t;
    struct rcpt *r = t->rcpts; /* the envelope's, in its order */
    size_t refused = 0, full = 0, left = 0, count = e->rcpt_count;
    for (size_t i = 0; i < count; i++, r = r->next) {
        const char *result = outcomes[i] ? outcomes[i]->result.p : NULL;
        if (result && strcmp(result, "delivered") == 0) {
            r->folder = arena_slice(t->arena, outcomes[i]->folder);
            r->uid = outcomes[i]->uid;
            r->modseq = outcomes[i]->modseq;
            continue;
        }
        if (!is_temporary(result)) refused++;
        if (result && strcmp(result, "full") == 0) full++;
        e->rcpts[left++] = e->rcpts[i];
    }
    if (refused == count) {
        end_refused(c, outcomes[0]->result.p);
    } else if (full == count) {
        end_unstored(c, STORE_FULL);
    } else if (left == 0) {
        char reply[64];
        snprintf(reply, sizeof reply, "OK, delivered as %s", e->id);
        end(c, 250, "2.0.0", reply);
    } else {
        e->rcpt_count = left; /* of the entry; the event has all recipients */
        queue_stored(c);
    }
}

static void on_written(void *ctx, int error) {
    struct commit *c = ctx;
    if (error)
        end_unstored(c, error);
    else
        deliver(c->session->smtpd->deliverer, &c->delivery);
}

static void prepare_delivery(struct commit *c) {
    mailbox_listing_build(c->text, &c->listing);
    c->delivery = (struct delivery){.envelope = &c->envelope,
                                    .listing = buf_slice(&c->listing),
                                    .attempt = SMTP_ATTEMPT,
                                    .done = on_delivered,
                                    .ctx = c};
}

/* The beginning */

/* Whole characters, because the envelope is UTF-8. */
static struct slice hold_of(const struct session *s) {
    struct slice reason = slice_of(s->t.hold ? s->t.hold : s->hold);
    size_t n = reason.n < ENVELOPE_HOLD_MAX ? reason.n : ENVELOPE_HOLD_MAX;
    while (n < reason.n && n && ((unsigned char)reason.p[n] & 0xc0) == 0x80) n--;
    return slice_head(reason, n);
}

static void fill_envelope(const struct session *s, struct envelope *e, size_t size) {
    const struct transaction *t = &s->t;
    struct envelope_rcpt *rcpts = arena_alloc(t->arena, t->rcpt_count * sizeof *rcpts);
    *e = (struct envelope){.from = t->from,
                           .origin = session_is_submission(s) ? ORIGIN_SUBMISSION : ORIGIN_MX,
                           .size = size,
                           .message_id = slice_of(t->message_id),
                           .received_ms = clock_wall_ms(),
                           .smtputf8 = t->smtputf8,
                           .require_tls = t->require_tls,
                           .body = t->body,
                           .ret = t->ret,
                           .envid = t->envid,
                           .folder = slice_of(t->folder ? t->folder : s->folder),
                           .hold = hold_of(s),
                           .rcpts = rcpts};
    memcpy(e->id, t->id, sizeof e->id);
    for (const struct rcpt *r = t->rcpts; r; r = r->next)
        rcpts[e->rcpt_count++] = (struct envelope_rcpt){.address = r->address,
                                                        .user = slice_of(r->user),
                                                        .from = r->from ? slice_of(r->from) : (struct slice){NULL, 0},
                                                        .orcpt = slice_of(r->orcpt),
                                                        .notify = slice_of(r->notify)};
}

static bool is_held(const struct session *s) { return s->t.hold || s->hold; }

/* The whole message is to be written. */
static void write_whole(struct commit *c) {
    struct session *s = c->session;
    struct smtpd_process *p = s->smtpd->process;
    c->text = message_finish(s);
    fill_envelope(s, &c->envelope, c->text.n);
    c->memory = BODY_COPIES * c->text.n;
    if (atomic_fetch_add(&p->memory, c->memory) + c->memory > p->memory_max) {
        end_unstored(c, STORE_FULL);
    } else if (body_is_for_mailboxes(s) && !is_held(s)) {
        size_t count;
        struct slice *refs = body_refs(s, s->t.arena, &count);
        prepare_delivery(c);
        blob_write(s->smtpd->worker->redis, slice_of(c->envelope.id), c->text, count, refs, on_written, c);
    } else {
        queue(c);
    }
}

static void on_early_released(void *ctx, int error) {
    struct commit *c = ctx;
    if (error)
        end_unstored(c, error);
    else
        write_whole(c);
}

/* The body is written, or is being written. */
static void use_written(struct commit *c, struct body *written, struct slice prefix) {
    struct transaction *t = &c->session->t;
    c->text = message_text(t);
    fill_envelope(c->session, &c->envelope, prefix.n + c->text.n);
    c->envelope.prefix = prefix;
    prepare_delivery(c);
    body_wait(written, on_written, c);
}

void commit_begin(struct session *s) {
    struct transaction *t = &s->t;
    struct commit *c = arena_alloc(t->arena, sizeof *c);
    struct body *written = t->written;
    t->written = NULL;
    c->session = s;
    memcpy(c->envelope.id, t->id, sizeof c->envelope.id);
    c->client = trace_client(s);
    c->client.tls = arena_slice(t->arena, c->client.tls);
    c->client.cipher = arena_slice(t->arena, c->client.cipher);
    s->commit = c;
    life_hold(&s->life);
    if (!written) {
        write_whole(c);
        return;
    }
    struct slice prefix = message_prefix(s);
    if (t->change.drop_count || prefix.n > ENVELOPE_PREFIX_MAX || is_held(s))
        body_release(written, on_early_released, c);
    else
        use_written(c, written, prefix);
}
