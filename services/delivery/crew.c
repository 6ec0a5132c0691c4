#include "services/delivery/crew.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"
#include "services/delivery/destination/destination.h"

enum { SAY_SECONDS = 5, GONE_SECONDS = 16, MEMBERS_MAX = 256 };

static struct metric workers =
    METRIC_GAUGE("postbus_delivery_workers", "Delivery workers of the site, as this one knows");

struct crew {
    struct delivery *delivery;
    struct event *clock;
    char id[ULID_BYTES];
    size_t count;
    struct member {
        char id[ULID_BYTES];
        int64_t heard_us;
    } members[MEMBERS_MAX];
};

static void share(struct crew *c) {
    destinations_set_workers(c->delivery->destinations, c->count);
    metric_set(&workers, (int64_t)c->count);
}

static struct member *find(struct crew *c, struct slice id) {
    for (size_t i = 0; i < c->count; i++)
        if (slice_is(id, c->members[i].id)) return &c->members[i];
    return NULL;
}

static void say(struct crew *c, bool leaving) {
    bus_publish(c->delivery->worker->bus, "delivery.present", slice_of(c->id), json_pack("{s:b}", "leaving", leaving));
}

static void on_heard(void *ctx, struct slice id, const json_t *data) {
    struct crew *c = ctx;
    struct member *m = find(c, id);
    if (!ulid_is_valid(id)) return;
    if (json_is_true(json_object_get(data, "leaving"))) {
        if (m) *m = c->members[--c->count];
    } else {
        bool is_new = !m;
        if (is_new && c->count < MEMBERS_MAX) m = &c->members[c->count++];
        if (!m) return;
        memcpy(m->id, id.p, ULID_LENGTH);
        m->id[ULID_LENGTH] = 0;
        if (is_new && !slice_is(id, c->id))
            say(c, false); /* so that it knows this worker at once
                              too */
        m->heard_us = clock_monotonic_us();
    }
    share(c);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct crew *c = ctx;
    (void)fd, (void)what;
    int64_t since = clock_monotonic_us() - (int64_t)GONE_SECONDS * 1000000;
    struct member *self = find(c, slice_of(c->id));
    say(c, false);
    if (!self || self->heard_us < since)
        return; /* not even our own events arrive: the bus is not
                   available */
    for (size_t i = 0; i < c->count;)
        if (c->members[i].heard_us < since)
            c->members[i] = c->members[--c->count];
        else
            i++;
    share(c);
}

struct crew *crew_create(struct delivery *d) {
    struct crew *c = memory_alloc(sizeof *c);
    struct timeval often = {SAY_SECONDS, 0};
    c->delivery = d;
    ulid_create(c->id);
    memcpy(c->members[c->count++].id, c->id, sizeof c->id); /* heard_us 0: not received on the bus
                                                               yet */
    c->clock = event_new(d->worker->base, -1, EV_PERSIST, on_clock, c);
    event_add(c->clock, &often);
    bus_hear(d->worker->bus, "delivery.present.*", false, on_heard, c);
    destinations_set_workers(d->destinations, (size_t)service_workers());
    say(c, false);
    return c;
}

void crew_destroy(struct crew *c) {
    say(c, true);
    event_free(c->clock);
    free(c);
}
