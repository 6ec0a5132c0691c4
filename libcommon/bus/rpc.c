/* Requests: one inbox for each worker, one slot for each request in flight, one timer for all
 * deadlines. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/bus/bus_private.h"

/* LAST_ROUNDS: rounds in which callbacks that send further requests while the bus is closed get
 * BUS_UNAVAILABLE. */
enum { LAST_ROUNDS = 8, SLOTS_MAX = 1 << 16, SLOTS_FIRST = 256, CLOCK_MS = 50 };

/* One of answer and text is set. */
struct server {
    struct bus *bus;
    bus_answer_fn *answer;
    bus_answer_text_fn *text;
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

static int error_of_code(const char *code) {
    if (!*code) return BUS_OK;
    return strcmp(code, "unavailable") == 0 || strcmp(code, "busy") == 0 ? BUS_UNAVAILABLE : BUS_REFUSED;
}

/* Calls the callback of a request with the answer; `there` is false when there is none. */
static void tell(const struct request *one, bool there, struct slice reply) {
    if (one->text) {
        char code[BUS_CODE_BYTES];
        int error = there && reply.n ? error_of_code(bus_error_code_text(reply, code)) : BUS_UNAVAILABLE;
        one->text(one->ctx, error, reply);
        return;
    }
    json_t *decoded = there ? bus_decode(reply) : NULL;
    one->done(one->ctx, decoded ? error_of_code(bus_error_code(decoded)) : BUS_UNAVAILABLE, decoded);
    json_decref(decoded);
}

static void finish(struct bus *b, struct request *q, bool there, struct slice reply) {
    struct request one = *q; /* the callback may send a request that takes this slot */
    b->next_free = (size_t)(q - b->requests);
    q->ticket = 0;
    b->in_flight--;
    tell(&one, there, reply);
}

static void on_reply(void *ctx, natsMsg *msg) {
    struct bus *b = ctx;
    struct slice subject = slice_of(natsMsg_GetSubject(msg));
    uint64_t ticket;
    if (slice_to_u64(slice_skip(subject, (size_t)(slice_find_last(subject, '.') + 1)), UINT64_MAX, &ticket) != 0)
        return;
    struct request *q = request_of(b, ticket);
    if (!q) return; /* late or cancelled */
    finish(b, q, !natsMsg_IsNoResponders(msg), bus_bytes(msg));
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct bus *b = ctx;
    (void)fd, (void)what;
    int64_t now = clock_monotonic_us();
    for (size_t i = 0; i < b->slots && b->in_flight; i++)
        if (b->requests[i].ticket && b->requests[i].deadline_us <= now) finish(b, &b->requests[i], false, SLICE(""));
    struct timeval wait = {0, CLOCK_MS * 1000};
    if (b->in_flight) event_add(b->clock, &wait);
}

static void on_refuse(evutil_socket_t fd, short what, void *ctx) {
    struct bus *b = ctx;
    (void)fd, (void)what;
    size_t count = b->refused_count; /* those that a callback adds are handled later */
    for (size_t i = 0; i < count; i++) {
        struct request one = b->refused[i]; /* a copy: an earlier callback may have cancelled it or
                                               enlarged the list */
        b->refused[i].ticket = 0;
        if (one.ticket) tell(&one, false, SLICE(""));
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
        if (b->requests[i].ticket) finish(b, &b->requests[i], false, SLICE(""));
    for (int i = 0; i < LAST_ROUNDS && b->refused_count; i++) on_refuse(-1, 0, b);
}

void rpc_free(struct bus *b) {
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

static uint64_t refuse_soon(struct bus *b, struct request one) {
    b->refused = memory_resize(b->refused, (b->refused_count + 1) * sizeof *b->refused);
    one.ticket = ++b->generation * SLOTS_MAX + SLOTS_MAX - 1; /* a slot that is never in use for
                                                                 request_of */
    b->refused[b->refused_count++] = one;
    event_active(b->refuse, EV_TIMEOUT, 0);
    return one.ticket;
}

static uint64_t ask_for(struct bus *b, const char *verb, struct slice ask, int timeout_ms, struct request one) {
    char subject[SUBJECT_MAX], reply_to[SUBJECT_MAX];
    struct request *q = atomic_load(&b->ready) ? slot_take(b) : NULL;
    if (!q) return refuse_soon(b, one);
    one.ticket = ++b->generation * SLOTS_MAX + (uint64_t)(q - b->requests);
    snprintf(subject, sizeof subject, "postbus.rpc.%s", verb);
    snprintf(reply_to, sizeof reply_to, "%s.%llu", b->inbox, (unsigned long long)one.ticket);
    if (bus_send(b, subject, reply_to, ask) != 0) return refuse_soon(b, one);
    one.deadline_us = clock_monotonic_us() + (int64_t)timeout_ms * 1000;
    *q = one;
    b->next_free = (size_t)(q - b->requests) + 1;
    b->in_flight++;
    struct timeval wait = {0, CLOCK_MS * 1000};
    if (!event_pending(b->clock, EV_TIMEOUT, NULL)) event_add(b->clock, &wait);
    return one.ticket;
}

uint64_t bus_request(struct bus *b, const char *verb, json_t *ask, int timeout_ms, bus_reply_fn *done, void *ctx) {
    struct slice text = bus_json(b, ask);
    json_decref(ask);
    return ask_for(b, verb, text, timeout_ms, (struct request){.done = done, .ctx = ctx});
}

uint64_t bus_request_text(struct bus *b, const char *verb, struct slice ask, int timeout_ms, bus_text_fn *done,
                          void *ctx) {
    return ask_for(b, verb, ask, timeout_ms, (struct request){.text = done, .ctx = ctx});
}

void bus_cancel(struct bus *b, uint64_t ticket) {
    struct request *q = request_of(b, ticket);
    if (q) {
        b->next_free = (size_t)(q - b->requests);
        q->ticket = 0;
        b->in_flight--;
    }
    for (size_t i = 0; i < b->refused_count; i++)
        if (b->refused[i].ticket == ticket) b->refused[i].ticket = 0;
}

const char *bus_error_code(const json_t *reply) {
    const char *code = json_string_value(json_object_get(json_object_get(reply, "error"), "code"));
    return code ? code : "";
}

const char *bus_error_code_text(struct slice reply, char out[BUS_CODE_BYTES]) {
    out[0] = '\0';
    if (!slice_starts(reply, SLICE("{\"error\""))) return out;
    json_t *decoded = bus_decode(reply);
    snprintf(out, BUS_CODE_BYTES, "%s", bus_error_code(decoded));
    json_decref(decoded);
    return out;
}

static void on_call(void *ctx, natsMsg *msg) {
    struct server *s = ctx;
    const char *reply_to = natsMsg_GetReply(msg);
    if (!reply_to) return;
    size_t n = strlen(reply_to) + 1;
    struct bus_call *call = memory_alloc(sizeof *call + n);
    call->bus = s->bus;
    memcpy(call->reply_to, reply_to, n);
    if (s->text) {
        s->text(s->ctx, call, bus_bytes(msg));
        return;
    }
    json_t *ask = bus_decode(bus_bytes(msg));
    if (json_is_object(ask))
        s->answer(s->ctx, call, ask);
    else
        bus_refuse(call, "invalid", "the request is not a JSON object");
    json_decref(ask);
}

static void serve(const char *verb, struct server one) {
    char subject[SUBJECT_MAX];
    struct server *s = memory_alloc(sizeof *s);
    *s = one;
    snprintf(subject, sizeof subject, "postbus.rpc.%s.%s", s->bus->service, verb);
    struct handler *h = handler_create_direct(s->bus, subject, s->bus->service, on_call, s);
    if (h)
        h->permanent = s;
    else
        free(s);
}

void bus_serve(struct bus *b, const char *verb, bus_answer_fn *answer, void *ctx) {
    serve(verb, (struct server){.bus = b, .answer = answer, .ctx = ctx});
}

void bus_serve_text(struct bus *b, const char *verb, bus_answer_text_fn *answer, void *ctx) {
    serve(verb, (struct server){.bus = b, .text = answer, .ctx = ctx});
}

void bus_answer_text(struct bus_call *call, struct slice reply) {
    bus_send(call->bus, call->reply_to, NULL, reply);
    free(call);
}

void bus_answer(struct bus_call *call, json_t *reply) {
    struct slice text = bus_json(call->bus, reply);
    json_decref(reply);
    bus_answer_text(call, text);
}

void bus_refuse(struct bus_call *call, const char *code, const char *message) {
    bus_answer(call, json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", message));
}
