/* Asks mailbox.deliver. What becomes ready in one turn of the loop is collected, and goes at the turn's end in as few
 * requests as their bounds allow. */
#include <stdlib.h>

#include "libcommon/codec/deliver.h"
#include "services/smtpd/smtpd.h"

struct deliverer {
    struct smtpd *smtpd;
    struct event *turn;
    struct delivery *first, **last; /* that wait for the turn's end */
};

/* One request. */
struct request {
    struct delivery *first;
    size_t count, rcpts, bytes;
};

/* As the request has it; the recipients are in the arena. */
static struct deliver_ask_message message_of(struct arena *arena, const struct delivery *d) {
    const struct envelope *e = d->envelope;
    struct deliver_ask_rcpt *rcpts = arena_alloc(arena, e->rcpt_count * sizeof *rcpts);
    for (size_t i = 0; i < e->rcpt_count; i++)
        rcpts[i] = (struct deliver_ask_rcpt){e->rcpts[i].address, e->rcpts[i].user};
    return (struct deliver_ask_message){.id = slice_of(e->id),
                                        .from = e->from,
                                        .folder = e->folder,
                                        .attempt = slice_of(d->attempt),
                                        .size = e->size,
                                        .date = e->received_ms / 1000,
                                        .held = true,
                                        .listing = d->listing,
                                        .count = e->rcpt_count,
                                        .rcpts = rcpts};
}

/* What a message's part of the answer tells; NULL where there is none. */
static void tell(struct delivery *d, const struct deliver_reply_message *message) {
    const char *results[ENVELOPE_RCPTS_MAX];
    for (size_t i = 0; i < d->envelope->rcpt_count; i++)
        results[i] = message && i < message->count && message->rcpts[i].result.n ? message->rcpts[i].result.p : NULL;
    d->done(d->ctx, results);
}

static void on_delivered(void *ctx, int error, struct slice text) {
    struct request *r = ctx;
    struct arena *arena = arena_create();
    struct deliver_reply reply = {.count = 0};
    size_t at = 0;
    if (!error) deliver_reply_read(arena, text, &reply);
    for (struct delivery *d = r->first, *next; d; d = next) {
        bool its = at < reply.count && slice_is(reply.messages[at].id, d->envelope->id);
        next = d->next;
        tell(d, its ? &reply.messages[at] : NULL);
        at += its;
    }
    arena_destroy(arena);
    free(r);
}

static void on_turn(evutil_socket_t fd, short what, void *ctx) {
    struct deliverer *x = ctx;
    struct arena *arena = arena_create();
    struct buf text = {0};
    (void)fd, (void)what;
    while (x->first) {
        struct request *r = memory_alloc(sizeof *r);
        struct delivery **last = &r->first;
        struct json_put ask = deliver_ask_open(&text);
        while (x->first && r->count < DELIVER_ASK_MESSAGES) {
            struct delivery *d = x->first;
            struct deliver_ask_message m = message_of(arena, d);
            size_t bytes = deliver_ask_bytes(&m);
            if (r->count && (r->rcpts + m.count > DELIVER_ASK_RCPTS || r->bytes + bytes > DELIVER_ASK_BYTES)) break;
            deliver_ask_add(&ask, &m); /* a message that cannot be written has no answer: it goes to the queue */
            x->first = d->next;
            d->next = NULL;
            *last = d;
            last = &d->next;
            r->count++;
            r->rcpts += m.count;
            r->bytes += bytes;
        }
        deliver_ask_close(&ask);
        bus_request_text(x->smtpd->worker->bus, "mailbox.deliver", buf_slice(&text), SMTP_DELIVER_MS, on_delivered, r);
        buf_reset(&text);
    }
    x->last = &x->first;
    buf_free(&text);
    arena_destroy(arena);
}

void deliver(struct deliverer *x, struct delivery *d) {
    d->next = NULL;
    *x->last = d;
    x->last = &d->next;
    event_active(x->turn, EV_TIMEOUT, 0);
}

struct deliverer *deliverer_create(struct smtpd *d) {
    struct deliverer *x = memory_alloc(sizeof *x);
    x->smtpd = d;
    x->last = &x->first;
    x->turn = event_new(d->worker->base, -1, 0, on_turn, x);
    if (!x->turn) memory_exhausted();
    return x;
}

void deliverer_destroy(struct deliverer *x) {
    if (!x) return;
    event_free(x->turn);
    free(x);
}
