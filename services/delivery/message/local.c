#include "services/delivery/message/local.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/codec/deliver.h"

enum { SOON_MS = 2000, SOON_LAST_MS = 300000, RCPT_BYTES_ABOUT = 80 };

struct local {
    struct local *next;
    const struct transaction_owner *owner;
    size_t index;
};

struct locals {
    struct delivery *delivery;
    struct event *send;
    struct local *first, **last;
    size_t requests;
};

/* One request: the recipients in its order. */
struct batch {
    struct locals *all;
    size_t count;
    struct local *each[DELIVER_ASK_RCPTS];
    size_t message_of[DELIVER_ASK_RCPTS];
};

static void settle(struct local *l, const struct outcome *o) {
    const struct transaction_owner *owner = l->owner;
    owner->settle(owner->ctx, 1, &l->index, o);
    free(l);
    owner->ended(owner->ctx);
}

/* A fault of this site: tried again soon, which does not count as an attempt. */
static struct outcome later(const struct local *l, const char *enhanced, const char *reason) {
    int64_t pause = (clock_wall_ms() - l->owner->envelope->received_ms) / 4;
    return (struct outcome){.kind = OUTCOME_DEFERRED,
                            .code = 451,
                            .enhanced = enhanced,
                            .reason = reason,
                            .host = "",
                            .retry_ms = pause < SOON_MS        ? SOON_MS
                                        : pause > SOON_LAST_MS ? SOON_LAST_MS
                                                               : pause,
                            .not_counted = true};
}

static struct outcome delivered(const char *reason) {
    return (struct outcome){.kind = OUTCOME_DELIVERED, .code = 250, .enhanced = "2.1.5", .reason = reason, .host = ""};
}

static struct outcome refused(int code, const char *enhanced, const char *reason) {
    return (struct outcome){.kind = OUTCOME_BOUNCED, .code = code, .enhanced = enhanced, .reason = reason, .host = ""};
}

/* o NULL: there is no answer. */
static struct outcome outcome_of(const struct local *l, const struct deliver_outcome *o) {
    bool patient = clock_wall_ms() - l->owner->envelope->received_ms < (int64_t)QUOTA_PATIENCE_SECONDS * 1000;
    if (!o || !o->result.n) return later(l, "4.3.0", "the mailbox service cannot be reached");
    if (slice_is(o->result, "delivered")) return delivered("delivered to the mailbox");
    if (slice_is(o->result, "over_quota"))
        return (struct outcome){.kind = patient ? OUTCOME_DEFERRED : OUTCOME_BOUNCED,
                                .code = patient ? 452 : 552,
                                .enhanced = patient ? "4.2.2" : "5.2.2",
                                .reason = "the mailbox is full",
                                .host = ""};
    if (slice_is(o->result, "not_found")) return refused(550, "5.1.1", "there is no such mailbox any more");
    if (slice_is(o->result, "full")) return later(l, "4.3.1", "the message store is full");
    if (slice_is(o->result, "invalid")) return refused(554, "5.3.0", "the message cannot be stored in the mailbox");
    return later(l, "4.3.0", "the mailbox service cannot deliver now");
}

static void send_some(struct locals *all);

static void on_delivered(void *ctx, int error, struct slice text) {
    struct batch *b = ctx;
    struct locals *all = b->all;
    struct arena *arena = arena_create();
    struct deliver_reply reply = {0};
    size_t message = SIZE_MAX, at = 0;
    if (error || deliver_reply_read(arena, text, &reply) != NULL) reply.count = 0;
    for (size_t i = 0; i < b->count; i++) {
        at = b->message_of[i] == message ? at + 1 : 0;
        message = b->message_of[i];
        const struct deliver_reply_message *m = message < reply.count ? &reply.messages[message] : NULL;
        bool same = m && at < m->count && slice_is(m->id, b->each[i]->owner->envelope->id);
        struct outcome o = outcome_of(b->each[i], same ? &m->rcpts[at] : NULL);
        settle(b->each[i], &o);
    }
    arena_destroy(arena);
    free(b);
    all->requests--;
    send_some(all);
}

static void on_taken(void *ctx, int error, const json_t *reply) {
    struct local *l = ctx;
    (void)reply;
    struct outcome o = error == BUS_OK            ? delivered("taken as a report")
                       : error == BUS_UNAVAILABLE ? later(l, "4.3.0", "the reporter cannot be reached")
                                                  : later(l, "4.3.0", "the reporter does not take the report");
    if (error == BUS_REFUSED && strcmp(bus_error_code(reply), "not_found") == 0)
        o = refused(554, "5.3.0", "the report is lost");
    settle(l, &o);
}

static json_t *text_of(struct slice s) { return json_stringn_nocheck(s.p ? s.p : "", s.n); }

static void take_report(struct locals *all, struct local *l) {
    const struct envelope *e = l->owner->envelope;
    json_t *ask =
        json_pack("{s:s,s:o,s:o}", "id", e->id, "rcpt", text_of(e->rcpts[l->index].address), "from", text_of(e->from));
    bus_request(all->delivery->worker->bus, "reporter.take", ask, DELIVERY_LOCAL_MS, on_taken, l);
}

/* A message without its recipients; of the arena. */
static struct deliver_ask_message message_of(struct arena *arena, const struct envelope *e) {
    char attempt[ULID_BYTES];
    ulid_create(attempt); /* each attempt holds the body under a different name */
    return (struct deliver_ask_message){.id = slice_of(e->id),
                                        .from = e->from,
                                        .folder = e->folder,
                                        .attempt = arena_slice(arena, slice_of(attempt)),
                                        .size = e->size - e->prefix.n,
                                        .date = e->received_ms / 1000,
                                        .prefix = e->prefix};
}

/* Takes the first waiting recipient. False: it is not to be sent to the mailbox service: the work
 * on its message has ended, or it is the reporter. */
static bool take_first(struct locals *all) {
    struct local *l = all->first;
    const struct transaction_owner *owner = l->owner;
    all->first = l->next;
    if (!all->first) all->last = &all->first;
    if (!owner->may_go_on(owner->ctx)) {
        free(l);
        owner->ended(owner->ctx);
        return false;
    }
    if (!slice_is(owner->envelope->rcpts[l->index].user, "reporter")) return true;
    take_report(all, l);
    return false;
}

/* Writes the message of the recipients from `first` on. False: one of its texts is not UTF-8, which
 * the queue's envelopes, JSON texts themselves, cannot have. */
static bool add_message(struct json_put *ask, struct arena *arena, struct batch *b, size_t first) {
    const struct envelope *e = b->each[first]->owner->envelope;
    struct deliver_ask_message m = message_of(arena, e);
    struct deliver_ask_rcpt *rcpts = arena_alloc(arena, (b->count - first) * sizeof *rcpts);
    for (size_t i = first; i < b->count; i++) {
        const struct envelope_rcpt *r = &e->rcpts[b->each[i]->index];
        rcpts[m.count++] = (struct deliver_ask_rcpt){r->address, r->user};
    }
    m.rcpts = rcpts;
    return deliver_ask_add(ask, &m);
}

static void drop_from(struct batch *b, size_t first) {
    const struct outcome o = refused(554, "5.3.0", "the message cannot be stored in the mailbox");
    while (b->count > first) settle(b->each[--b->count], &o);
}

/* Sends one request with as many messages as fit. */
static void send_batch(struct locals *all) {
    struct batch *b = memory_alloc(sizeof *b);
    struct arena *arena = arena_create();
    struct buf text = {0};
    struct json_put ask = deliver_ask_open(&text);
    size_t messages = 0;
    b->all = all;
    while (all->first && messages < DELIVER_ASK_MESSAGES && b->count < DELIVER_ASK_RCPTS &&
           text.n < DELIVERY_LOCAL_BYTES) {
        const struct transaction_owner *owner = all->first->owner;
        size_t first = b->count, bytes = text.n;
        while (all->first && all->first->owner == owner && b->count < DELIVER_ASK_RCPTS &&
               bytes < DELIVERY_LOCAL_BYTES) {
            struct local *l = all->first;
            if (!take_first(all)) continue;
            bytes += RCPT_BYTES_ABOUT + owner->envelope->rcpts[l->index].address.n;
            b->message_of[b->count] = messages;
            b->each[b->count++] = l;
        }
        if (b->count == first) continue;
        if (add_message(&ask, arena, b, first))
            messages++;
        else
            drop_from(b, first);
    }
    deliver_ask_close(&ask);
    if (b->count) {
        all->requests++;
        bus_request_text(all->delivery->worker->bus, "mailbox.deliver", buf_slice(&text), DELIVERY_LOCAL_MS,
                         on_delivered, b);
    } else {
        free(b);
    }
    buf_free(&text);
    arena_destroy(arena);
}

static void send_some(struct locals *all) {
    while (all->first && all->requests < DELIVERY_LOCAL_REQUESTS) send_batch(all);
}

static void on_send(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    send_some(ctx);
}

struct locals *locals_create(struct delivery *d) {
    struct locals *all = memory_alloc(sizeof *all);
    all->delivery = d;
    all->last = &all->first;
    all->send = event_new(d->worker->base, -1, 0, on_send, all);
    return all;
}

void locals_destroy(struct locals *all) {
    event_free(all->send);
    free(all);
}

void local_deliver(struct locals *all, const struct transaction_owner *owner, size_t index) {
    struct local *l = memory_alloc(sizeof *l);
    *l = (struct local){.owner = owner, .index = index};
    owner->began(owner->ctx);
    *all->last = l;
    all->last = &l->next;
    event_active(all->send, EV_TIMEOUT, 0);
}
