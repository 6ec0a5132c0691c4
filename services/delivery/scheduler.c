/* Finds due work: at once when an event says so, and by the clock when no event came. Leases come in batches, one call
 * on its way for each shard. */
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "services/delivery/delivery.h"

struct lease {
    struct delivery *delivery;
    int shard;
};

static void ask(struct delivery *d, int shard);

static bool is_in_work(const struct delivery *d, struct slice id) {
    for (const struct entry *e = d->entries; e; e = e->next)
        if (slice_is(id, e->id)) return true;
    return false;
}

static void on_lease(void *ctx, int error, size_t count, const struct slice ids[], json_t *const envelopes[]) {
    struct lease *l = ctx;
    struct delivery *d = l->delivery;
    int shard = l->shard;
    free(l);
    d->shards[shard].asking = false;
    d->asking--;
    if (error) { /* the clock asks again */
        if (error != STORE_UNAVAILABLE) log_warn("cannot lease work", "reason", store_error_text(error), NULL);
        scheduler_check_drained(d);
        return;
    }
    if (count == DELIVERY_LEASE_BATCH) d->shards[shard].wanted = true;
    for (size_t i = 0; i < count; i++)
        if (!is_in_work(d, ids[i])) entry_start(d, ids[i], envelopes[i]);
    if (d->shards[shard].wanted) ask(d, shard);
    scheduler_check_drained(d);
}

static void ask(struct delivery *d, int shard) {
    if (d->shards[shard].asking || d->in_flight >= DELIVERY_IN_FLIGHT_MAX || service_is_draining()) return;
    struct lease *l = memory_alloc(sizeof *l);
    *l = (struct lease){d, shard};
    d->shards[shard].asking = true;
    d->asking++;
    d->shards[shard].wanted = false;
    queue_lease(d->worker->redis, shard, DELIVERY_LEASE_BATCH, DELIVERY_LEASE_MS, on_lease, l);
}

void scheduler_check_drained(struct delivery *d) {
    if (service_is_draining() && !d->in_flight && !d->asking) service_drained(d->worker);
}

void scheduler_want(struct delivery *d, int shard) {
    if (shard < 0 || shard >= QUEUE_SHARDS) return;
    d->shards[shard].wanted = true;
    ask(d, shard);
}

static void on_accepted(void *ctx, struct slice id, const json_t *data) {
    (void)data;
    if (ulid_is_valid(id)) scheduler_want(ctx, queue_shard_of(id));
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct delivery *d = ctx;
    (void)fd, (void)what;
    for (int i = 0; i < QUEUE_SHARDS; i++) ask(d, i);
}

static void on_extend(evutil_socket_t fd, short what, void *ctx) {
    struct delivery *d = ctx;
    (void)fd, (void)what;
    for (struct entry *e = d->entries; e; e = e->next)
        queue_extend(d->worker->redis, slice_of(e->id), DELIVERY_LEASE_MS);
}

void scheduler_start(struct delivery *d) {
    struct timeval clock = {DELIVERY_CLOCK_MS / 1000, DELIVERY_CLOCK_MS % 1000 * 1000},
                   extend = {DELIVERY_EXTEND_MS / 1000, DELIVERY_EXTEND_MS % 1000 * 1000};
    d->clock = event_new(d->worker->base, -1, EV_PERSIST, on_clock, d);
    d->extend = event_new(d->worker->base, -1, EV_PERSIST, on_extend, d);
    event_add(d->clock, &clock);
    event_add(d->extend, &extend);
    bus_hear(d->worker->bus, "mail.accepted.*", true, on_accepted, d);
}

void scheduler_stop(struct delivery *d) {
    event_free(d->clock);
    event_free(d->extend);
}
