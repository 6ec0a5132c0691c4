/* Requests: one inbox a worker, one slot a request in flight, one clock for all deadlines. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/bus/bus_private.h"

/* LAST_ROUNDS: how often callbacks that ask again while the bus is taken down are told once more that it is. */
enum { LAST_ROUNDS = 8, SLOTS_MAX = 1 << 16, SLOTS_FIRST = 256, CLOCK_MS = 50 };

struct server {
    struct bus *bus;
    bus_answer_fn *answer;
    void *ctx;
};

struct bus_call {
    struct bus *bus;
    char reply_to[]; /* NUL-terminated */
};

static struct request *request_of(struct bus *b, uint64_t ticket) {
    size_t slot = ticket % SLOTS_MAX;
    return ticket && slot < b->slots && b->requests[slot].ticket == ticket ? &b->requests[slot] : NULL;
}

static void finish(struct bus *b, struct request *q, int error, const json_t *reply) {
    bus_reply_fn *done = q->done;
    void *ctx = q->ctx;
    b->next_free = (size_t)(q - b->requests);
    q->ticket = 0;
    b->in_flight--;
    done(ctx, error, reply);
}

static void on_reply(void *ctx, natsMsg *msg) {
    struct bus *b = ctx;
    struct slice subject = slice_of(natsMsg_GetSubject(msg));
    uint64_t ticket;
    if (slice_to_u64(slice_skip(subject, (size_t)(slice_find_last(subject, '.') + 1)), UINT64_MAX, &ticket) != 0)
        return;
    struct request *q = request_of(b, ticket);
    if (!q) return; /* late, or given up */
    json_t *reply = natsMsg_IsNoResponders(msg)
                        ? NULL
                        : json_loadb(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), 0, NULL);
    const char *code = bus_error_code(reply);
    int error = BUS_OK;
    if (!reply || slice_is(slice_of(code), "unavailable") || slice_is(slice_of(code), "busy"))
        error = BUS_UNAVAILABLE;
    else if (*code)
        error = BUS_REFUSED;
    finish(b, q, error, reply);
    json_decref(reply);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct bus *b = ctx;
    (void)fd, (void)what;
    int64_t now = clock_monotonic_us();
    for (size_t i = 0; i < b->slots && b->in_flight; i++)
        if (b->requests[i].ticket && b->requests[i].deadline_us <= now)
            finish(b, &b->requests[i], BUS_UNAVAILABLE, NULL);
    struct timeval wait = {0, CLOCK_MS * 1000};
    if (b->in_flight) event_add(b->clock, &wait);
}

static void on_refuse(evutil_socket_t fd, short what, void *ctx) {
    struct bus *b = ctx;
    (void)fd, (void)what;
    size_t count = b->refused_count; /* those that a callback adds have their own turn */
    for (size_t i = 0; i < count; i++) {
        struct request one = b->refused[i]; /* here, and still in the list: a callback before it may have cancelled it,
                                               or made the list grow */
        b->refused[i].done = NULL;
        if (one.done) one.done(one.ctx, BUS_UNAVAILABLE, NULL);
    }
    b->refused_count -= count;
    memmove(b->refused, b->refused + count, b->refused_count * sizeof *b->refused);
}

void rpc_start(struct bus *b) {
    char subject[SUBJECT_MAX];
    snprintf(subject, sizeof subject, "%s.*", b->inbox);
    b->clock = event_new(b->base, -1, 0, on_clock, b);
    b->refuse = event_new(b->base, -1, 0, on_refuse, b);
    b->generation = 1;
    handler_create_direct(b, subject, NULL, on_reply, b);
}

void rpc_stop(struct bus *b) {
    for (size_t i = 0; i < b->slots; i++)
        if (b->requests[i].ticket) finish(b, &b->requests[i], BUS_UNAVAILABLE, NULL);
    for (int i = 0; i < LAST_ROUNDS && b->refused_count; i++) on_refuse(-1, 0, b);
    event_free(b->clock);
    event_free(b->refuse);
    free(b->requests);
    free(b->refused);
    b->requests = b->refused = NULL;
    b->refused_count = 0;
    b->slots = 0;
}

static struct request *slot_take(struct bus *b) {
    if (b->next_free < b->slots && !b->requests[b->next_free].ticket) return &b->requests[b->next_free];
    if (b->in_flight < b->slots)
        for (size_t i = 0; i < b->slots; i++)
            if (!b->requests[i].ticket) return &b->requests[i];
    if (b->slots == SLOTS_MAX) return NULL;
    size_t more = b->slots ? b->slots * 2 : SLOTS_FIRST;
    b->requests = memory_resize(b->requests, more * sizeof *b->requests);
    memset(b->requests + b->slots, 0, (more - b->slots) * sizeof *b->requests);
    struct request *q = &b->requests[b->slots];
    b->slots = more;
    return q;
}

static uint64_t refuse_soon(struct bus *b, bus_reply_fn *done, void *ctx) {
    b->refused = memory_resize(b->refused, (b->refused_count + 1) * sizeof *b->refused);
    uint64_t ticket = ++b->generation * SLOTS_MAX + SLOTS_MAX - 1; /* a slot that request_of never finds in use */
    b->refused[b->refused_count++] = (struct request){.ticket = ticket, .done = done, .ctx = ctx};
    event_active(b->refuse, EV_TIMEOUT, 0);
    return ticket;
}

uint64_t bus_request(struct bus *b, const char *verb, json_t *ask, int timeout_ms, bus_reply_fn *done, void *ctx) {
    char subject[SUBJECT_MAX], reply_to[SUBJECT_MAX];
    struct request *q = atomic_load(&b->ready) ? slot_take(b) : NULL;
    uint64_t ticket = 0;
    if (q) {
        ticket = ++b->generation * SLOTS_MAX + (uint64_t)(q - b->requests);
        snprintf(subject, sizeof subject, "postbus.rpc.%s", verb);
        snprintf(reply_to, sizeof reply_to, "%s.%llu", b->inbox, (unsigned long long)ticket);
        if (bus_send(b, subject, reply_to, bus_json(b, ask)) != 0) q = NULL;
    }
    json_decref(ask);
    if (!q) return refuse_soon(b, done, ctx);
    *q = (struct request){ticket, clock_monotonic_us() + (int64_t)timeout_ms * 1000, done, ctx};
    b->next_free = (size_t)(q - b->requests) + 1;
    b->in_flight++;
    struct timeval wait = {0, CLOCK_MS * 1000};
    if (!event_pending(b->clock, EV_TIMEOUT, NULL)) event_add(b->clock, &wait);
    return ticket;
}

void bus_cancel(struct bus *b, uint64_t ticket) {
    struct request *q = request_of(b, ticket);
    if (q) {
        b->next_free = (size_t)(q - b->requests);
        q->ticket = 0;
        b->in_flight--;
    }
    for (size_t i = 0; i < b->refused_count; i++)
        if (b->refused[i].ticket == ticket) b->refused[i].done = NULL;
}

const char *bus_error_code(const json_t *reply) {
    const char *code = json_string_value(json_object_get(json_object_get(reply, "error"), "code"));
    return code ? code : "";
}

static void on_call(void *ctx, natsMsg *msg) {
    struct server *s = ctx;
    const char *reply_to = natsMsg_GetReply(msg);
    if (!reply_to) return;
    size_t n = strlen(reply_to) + 1;
    struct bus_call *call = memory_alloc(sizeof *call + n);
    call->bus = s->bus;
    memcpy(call->reply_to, reply_to, n);
    json_t *ask = json_loadb(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), 0, NULL);
    if (json_is_object(ask))
        s->answer(s->ctx, call, ask);
    else
        bus_refuse(call, "invalid", "the request is not a JSON object");
    json_decref(ask);
}

void bus_serve(struct bus *b, const char *verb, bus_answer_fn *answer, void *ctx) {
    char subject[SUBJECT_MAX];
    struct server *s = memory_alloc(sizeof *s);
    *s = (struct server){b, answer, ctx};
    snprintf(subject, sizeof subject, "postbus.rpc.%s.%s", b->service, verb);
    struct handler *h = handler_create_direct(b, subject, b->service, on_call, s);
    if (h)
        h->permanent = s;
    else
        free(s);
}

void bus_answer(struct bus_call *call, json_t *reply) {
    bus_send(call->bus, call->reply_to, NULL, bus_json(call->bus, reply));
    json_decref(reply);
    free(call);
}

void bus_refuse(struct bus_call *call, const char *code, const char *message) {
    bus_answer(call, json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", message));
}
