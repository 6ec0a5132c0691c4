#include "services/delivery/scheduler.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/queue.h"
#include "services/delivery/destination/destination.h"
#include "services/delivery/destination/route.h"
#include "services/delivery/message/message.h"
#include "services/delivery/session/body.h"

enum { BUCKETS = 4096, DRAIN_LOOK_MS = 50, LARGE_RCPTS = 500, TEXTS_AT_ONCE = 512 * 1024 };

static struct metric in_work = METRIC_GAUGE("postbus_delivery_in_work", "Queue entries in work");

struct shard {
    struct scheduler *scheduler;
    int number;
    bool wanted, asking;
    int64_t asked_us;
    char token[ULID_BYTES]; /* of the lease call that is on its way */
};

struct scheduler {
    struct delivery *delivery;
    struct event *clock, *extend, *drain, *gather;
    struct shard shards[QUEUE_SHARDS];
    struct message *buckets[BUCKETS];
    size_t messages, rcpts, texts, asking; /* texts: bytes of those that came with leases */
};

static size_t bucket_of(const char *id) {
    size_t h = 5381;
    for (int i = 10; i < ULID_LENGTH; i++) h = h * 33 + (unsigned char)id[i];
    return h % BUCKETS;
}

static struct message *find(const struct scheduler *s, const char *id) {
    struct message *m = s->buckets[bucket_of(id)];
    while (m && strcmp(m->envelope->id, id) != 0) m = m->next;
    return m;
}

static void ask(struct shard *shard);

static bool has_room(const struct scheduler *s) {
    return s->messages < DELIVERY_MESSAGES_MAX && s->rcpts < DELIVERY_RCPTS_MAX;
}

static void on_end(void *ctx, struct message *m) {
    struct scheduler *s = ctx;
    struct shard *shard = &s->shards[queue_shard_of(slice_of(m->envelope->id))];
    if (m->previous)
        m->previous->next = m->next;
    else
        s->buckets[bucket_of(m->envelope->id)] = m->next;
    if (m->next) m->next->previous = m->previous;
    s->messages--;
    s->rcpts -= m->envelope->rcpt_count;
    s->texts -= m->envelope->packed.n;
    metric_add(&in_work, -1);
    if (shard->wanted) ask(shard); /* it waited for room */
}

/* queue_lease moves an entry that cannot be read to the dead letters: logs and publishes this. */
static void say_dead(struct scheduler *s, struct envelope *e) {
    bus_publish(s->delivery->worker->bus, "mail.dead", slice_of(e->id),
                json_pack("{s:s}", "reason", "The queue entry is damaged and was put aside"));
    envelope_destroy(e);
}

static void begin(struct scheduler *s, struct envelope *e, const struct shard *shard) {
    if (e->rcpt_count == 0) {
        say_dead(s, e);
        return;
    }
    struct message *old = find(s, e->id);
    if (old) { /* this worker was too slow to extend its lease, or had lost it, and has leased the
                  entry again */
        envelope_destroy(e);
        message_adopt(old, shard->token, shard->asked_us);
        return;
    }
    struct message *m = message_start(s->delivery, e, shard->token, shard->asked_us, on_end, s);
    struct message **first = &s->buckets[bucket_of(e->id)];
    m->next = *first;
    if (m->next) m->next->previous = m;
    *first = m;
    s->messages++;
    s->rcpts += e->rcpt_count;
    s->texts += e->packed.n;
    metric_add(&in_work, 1);
}

static void on_lease(void *ctx, int error, size_t count, struct envelope *const entries[]) {
    struct shard *shard = ctx;
    struct scheduler *s = shard->scheduler;
    shard->asking = false;
    s->asking--;
    if (error) { /* the timer asks again */
        if (error != STORE_UNAVAILABLE) log_warn("cannot lease work", "reason", store_error_text(error), NULL);
        return;
    }
    size_t rcpts = 0;
    for (size_t i = 0; i < count; i++) {
        rcpts += entries[i]->rcpt_count;
        begin(s, entries[i], shard);
    }
    if (count == DELIVERY_LEASE_BATCH || rcpts > LARGE_RCPTS)
        shard->wanted = true; /* the answer was full: more entries are due */
    if (shard->wanted) ask(shard);
}

static size_t text_room(const struct scheduler *s) {
    size_t room = s->texts < DELIVERY_TEXTS_BYTES ? DELIVERY_TEXTS_BYTES - s->texts : 0;
    return room < TEXTS_AT_ONCE ? room : TEXTS_AT_ONCE;
}

static void ask(struct shard *shard) {
    struct scheduler *s = shard->scheduler;
    if (shard->asking || !has_room(s) || service_is_draining()) return;
    int64_t wait = shard->asked_us + DELIVERY_GATHER_MS * 1000 - clock_monotonic_us();
    if (wait > 0) {
        struct timeval soon = {0, wait};
        shard->wanted = true;
        if (!event_pending(s->gather, EV_TIMEOUT, NULL)) event_add(s->gather, &soon);
        return;
    }
    shard->asking = true;
    shard->wanted = false;
    shard->asked_us = clock_monotonic_us();
    ulid_create(shard->token);
    s->asking++;
    queue_lease(s->delivery->worker->redis, shard->number, DELIVERY_LEASE_BATCH, text_room(s), s->delivery->lease_ms,
                shard->token, on_lease, shard);
}

void scheduler_want(struct scheduler *s, int shard) {
    if (shard < 0 || shard >= QUEUE_SHARDS) return;
    s->shards[shard].wanted = true;
    ask(&s->shards[shard]);
}

static void on_due(void *ctx, struct slice shard, struct slice nothing) {
    uint64_t n;
    (void)nothing;
    if (slice_to_u64(shard, QUEUE_SHARDS - 1, &n) == 0) scheduler_want(ctx, (int)n);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct scheduler *s = ctx;
    (void)fd, (void)what;
    for (int i = 0; i < QUEUE_SHARDS; i++) ask(&s->shards[i]);
}

static void on_gather(evutil_socket_t fd, short what, void *ctx) {
    struct scheduler *s = ctx;
    (void)fd, (void)what;
    for (int i = 0; i < QUEUE_SHARDS; i++)
        if (s->shards[i].wanted) ask(&s->shards[i]);
}

static void on_extend(evutil_socket_t fd, short what, void *ctx) {
    struct scheduler *s = ctx;
    (void)fd, (void)what;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct message *m = s->buckets[i]; m; m = m->next) message_extend(m);
}

static void on_drain_look(evutil_socket_t fd, short what, void *ctx) {
    struct scheduler *s = ctx;
    struct delivery *d = s->delivery;
    (void)fd, (void)what;
    destinations_sweep(d->destinations);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct message *m = s->buckets[i]; m; m = m->next)
            if (m->lost) message_wake(m);
    if (!s->messages && !s->asking && !destinations_in_work(d->destinations) && !bodies_bytes(d->bodies) &&
        !routes_asking(d->routes))
        service_drained(d->worker);
}

void scheduler_drain(struct scheduler *s) {
    struct timeval often = {0, DRAIN_LOOK_MS * 1000};
    event_add(s->drain, &often);
    on_drain_look(-1, 0, s);
}

struct scheduler *scheduler_create(struct delivery *d) {
    struct scheduler *s = memory_alloc(sizeof *s);
    int64_t third = d->lease_ms / 3;
    struct timeval clock = {DELIVERY_CLOCK_MS / 1000, DELIVERY_CLOCK_MS % 1000 * 1000},
                   extend = {third / 1000, third % 1000 * 1000};
    s->delivery = d;
    for (int i = 0; i < QUEUE_SHARDS; i++) s->shards[i] = (struct shard){.scheduler = s, .number = i};
    s->clock = event_new(d->worker->base, -1, EV_PERSIST, on_clock, s);
    s->extend = event_new(d->worker->base, -1, EV_PERSIST, on_extend, s);
    s->drain = event_new(d->worker->base, -1, EV_PERSIST, on_drain_look, s);
    s->gather = event_new(d->worker->base, -1, 0, on_gather, s);
    event_add(s->clock, &clock);
    event_add(s->extend, &extend);
    bus_hear_raw(d->worker->bus, "queue.due.*", true, on_due, s);
    return s;
}

void scheduler_destroy(struct scheduler *s) {
    event_free(s->clock);
    event_free(s->extend);
    event_free(s->drain);
    event_free(s->gather);
    free(s);
}
