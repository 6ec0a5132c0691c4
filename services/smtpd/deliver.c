/* Sends mailbox.deliver. Messages that are ready in one turn of the loop are collected, and sent at
 * its end in as few requests as the bounds allow. */
#include <stdlib.h>

#include "libcommon/codec/deliver.h"
#include "services/smtpd/smtpd.h"

struct deliverer {
    struct smtpd *smtpd;
    struct event *turn;
    struct delivery *first, **last; /* deliveries that wait for the end of the turn */
};

/* One request. */
struct request {
    struct delivery *first;
    size_t count, rcpts, bytes;
};

/* rcpts: of the arena. */
static struct deliver_ask_message message_of(struct arena *arena, const struct delivery *d) {
    const struct envelope *e = d->envelope;
    struct deliver_ask_rcpt *rcpts = arena_alloc(arena, e->rcpt_count * sizeof *rcpts);
    for (size_t i = 0; i < e->rcpt_count; i++)
        rcpts[i] = (struct deliver_ask_rcpt){e->rcpts[i].address, e->rcpts[i].user};
    return (struct deliver_ask_message){.id = slice_of(e->id),
                                        .from = e->from,
                                        .folder = e->folder,
                                        .attempt = slice_of(d->attempt),
                                        .size = e->size - e->prefix.n,
                                        .date = e->received_ms / 1000,
                                        .held = true,
                                        .listing = d->listing,
                                        .prefix = e->prefix,
                                        .count = e->rcpt_count,
                                        .rcpts = rcpts};
}

/* Passes on the outcomes of one message; m NULL: there are none. */
static void tell(struct delivery *d, const struct deliver_reply_message *m) {
    const struct deliver_outcome *outcomes[ENVELOPE_RCPTS_MAX] = {0};
    for (size_t i = 0; m && i < m->count && i < d->envelope->rcpt_count; i++)
        if (m->rcpts[i].result.n) outcomes[i] = &m->rcpts[i];
    d->done(d->ctx, outcomes);
}

static void on_delivered(void *ctx, int error, struct slice text) {
    struct request *r = ctx;
    struct arena *arena = arena_create();
    struct deliver_reply reply = {0};
    struct delivery *d = r->first, *next;
    if (error || deliver_reply_read(arena, text, &reply) != NULL) reply.count = 0;
    for (size_t i = 0; d; i++, d = next) {
        const struct deliver_reply_message *m = i < reply.count ? &reply.messages[i] : NULL;
        next = d->next;
        tell(d, m && slice_is(m->id, d->envelope->id) ? m : NULL);
    }
    arena_destroy(arena);
    free(r);
}

static void ask_mailbox(struct deliverer *x, struct arena *arena, struct request *r) {
    struct buf ask = {0};
    struct json_put j = deliver_ask_open(&ask);
    for (struct delivery *d = r->first; d; d = d->next) {
        struct deliver_ask_message m = message_of(arena, d);
        deliver_ask_add(&j, &m); /* what smtpd takes is UTF-8 (parse.c) */
    }
    deliver_ask_close(&j);
    bus_request_text(x->smtpd->worker->bus, "mailbox.deliver", buf_slice(&ask), SMTP_DELIVER_MS, on_delivered, r);
    buf_free(&ask);
}

static void on_turn(evutil_socket_t fd, short what, void *ctx) {
    struct deliverer *x = ctx;
    struct arena *arena = arena_create();
    (void)fd, (void)what;
    while (x->first) {
        struct request *r = memory_alloc(sizeof *r);
        struct delivery **last = &r->first;
        while (x->first && r->count < DELIVER_ASK_MESSAGES) {
            struct delivery *d = x->first;
            struct deliver_ask_message m = message_of(arena, d);
            size_t bytes = deliver_ask_bytes(&m);
            if (r->count && (r->rcpts + m.count > DELIVER_ASK_RCPTS || r->bytes + bytes > DELIVER_ASK_BYTES)) break;
            x->first = d->next;
            d->next = NULL;
            *last = d;
            last = &d->next;
            r->count++;
            r->rcpts += m.count;
            r->bytes += bytes;
        }
        ask_mailbox(x, arena, r);
    }
    x->last = &x->first;
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
