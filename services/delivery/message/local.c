#include "services/delivery/message/local.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"

enum { SOON_MS = 2000, SOON_LAST_MS = 300000, RCPT_BYTES_ABOUT = 160 };

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
    struct local *each[DELIVERY_LOCAL_RCPTS];
    size_t message_of[DELIVERY_LOCAL_RCPTS];
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

static struct outcome outcome_of(const struct local *l, const json_t *answer) {
    const char *result = json_string_value(json_object_get(answer, "result"));
    bool patient = clock_wall_ms() - l->owner->envelope->received_ms < (int64_t)QUOTA_PATIENCE_SECONDS * 1000;
    if (!result) return later(l, "4.3.0", "the mailbox service cannot be reached");
    if (strcmp(result, "delivered") == 0) return delivered("delivered to the mailbox");
    if (strcmp(result, "over_quota") == 0)
        return (struct outcome){.kind = patient ? OUTCOME_DEFERRED : OUTCOME_BOUNCED,
                                .code = patient ? 452 : 552,
                                .enhanced = patient ? "4.2.2" : "5.2.2",
                                .reason = "the mailbox is full",
                                .host = ""};
    if (strcmp(result, "not_found") == 0)
        return (struct outcome){.kind = OUTCOME_BOUNCED,
                                .code = 550,
                                .enhanced = "5.1.1",
                                .reason = "there is no such mailbox any more",
                                .host = ""};
    if (strcmp(result, "full") == 0) return later(l, "4.3.1", "the message store is full");
    if (strcmp(result, "invalid") == 0)
        return (struct outcome){.kind = OUTCOME_BOUNCED,
                                .code = 554,
                                .enhanced = "5.3.0",
                                .reason = "the message cannot be stored in the mailbox",
                                .host = ""};
    return later(l, "4.3.0", "the mailbox service cannot deliver now");
}

static void send_some(struct locals *all);

static void on_delivered(void *ctx, int error, const json_t *reply) {
    struct batch *b = ctx;
    struct locals *all = b->all;
    const json_t *messages = json_object_get(reply, "messages");
    size_t message = SIZE_MAX, at = 0;
    for (size_t i = 0; i < b->count; i++) {
        at = b->message_of[i] == message ? at + 1 : 0;
        message = b->message_of[i];
        const json_t *rcpts = json_object_get(json_array_get(messages, message), "rcpts");
        struct outcome o = outcome_of(b->each[i], error ? NULL : json_array_get(rcpts, at));
        settle(b->each[i], &o);
    }
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
        o = (struct outcome){
            .kind = OUTCOME_BOUNCED, .code = 554, .enhanced = "5.3.0", .reason = "the report is lost", .host = ""};
    settle(l, &o);
}

static json_t *text_of(struct slice s) { return json_stringn_nocheck(s.p ? s.p : "", s.n); }

static void take_report(struct locals *all, struct local *l) {
    const struct envelope *e = l->owner->envelope;
    json_t *ask =
        json_pack("{s:s,s:o,s:o}", "id", e->id, "rcpt", text_of(e->rcpts[l->index].address), "from", text_of(e->from));
    bus_request(all->delivery->worker->bus, "reporter.take", ask, DELIVERY_LOCAL_MS, on_taken, l);
}

static json_t *message_of(const struct envelope *e) {
    char attempt[ULID_BYTES];
    ulid_create(attempt); /* each attempt holds the body under a different name */
    json_t *message = json_pack("{s:s,s:o,s:o,s:I,s:I,s:s,s:b,s:[]}", "id", e->id, "from", text_of(e->from), "folder",
                                text_of(e->folder), "size", (json_int_t)(e->size - e->prefix.n), "date",
                                (json_int_t)(e->received_ms / 1000), "attempt", attempt, "held", 0, "rcpts");
    if (e->prefix.n) json_object_set_new(message, "prefix", text_of(e->prefix));
    return message;
}

/* Sends one request with as many messages as fit. */
static void send_batch(struct locals *all) {
    struct batch *b = memory_alloc(sizeof *b);
    json_t *messages = json_array(), *current = NULL;
    const struct transaction_owner *owner = NULL;
    size_t bytes = 0;
    b->all = all;
    while (all->first && b->count < DELIVERY_LOCAL_RCPTS && bytes < DELIVERY_LOCAL_BYTES) {
        struct local *l = all->first;
        const struct envelope *e = l->owner->envelope;
        if (l->owner != owner && json_array_size(messages) == DELIVERY_LOCAL_MESSAGES) break;
        all->first = l->next;
        if (!all->first) all->last = &all->first;
        if (!l->owner->may_go_on(l->owner->ctx)) {
            const struct transaction_owner *gone = l->owner;
            free(l);
            gone->ended(gone->ctx);
            continue;
        }
        if (slice_is(e->rcpts[l->index].user, "reporter")) {
            take_report(all, l);
            continue;
        }
        if (l->owner != owner) {
            owner = l->owner;
            current = message_of(e);
            json_array_append_new(messages, current);
            bytes += 4 * RCPT_BYTES_ABOUT + e->prefix.n;
        }
        json_array_append_new(json_object_get(current, "rcpts"),
                              json_pack("{s:o,s:o}", "rcpt", text_of(e->rcpts[l->index].address), "user",
                                        text_of(e->rcpts[l->index].user)));
        bytes += RCPT_BYTES_ABOUT + e->rcpts[l->index].address.n;
        b->message_of[b->count] = json_array_size(messages) - 1;
        b->each[b->count++] = l;
    }
    if (!b->count) {
        json_decref(messages);
        free(b);
        return;
    }
    all->requests++;
    bus_request(all->delivery->worker->bus, "mailbox.deliver", json_pack("{s:o}", "messages", messages),
                DELIVERY_LOCAL_MS, on_delivered, b);
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
