/* The stream POSTBUS_MAIL, which keeps the events of every message for seven days, and the reading
 * of one message's events from it. Both block (bus/stream.h), so they run on the pool's threads.
 * NATS may lose a stream (its disk, a kill): its existence is checked every minute, and it is
 * created again. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"
#include "libcommon/base/ulid.h"
#include "libcommon/bus/stream.h"
#include "services/admin/admin.h"

#define STREAM "POSTBUS_MAIL"
enum { STREAM_DAYS = 7, LOOK_SECONDS = 60, LOOK_AGAIN_SECONDS = 2 };

/* The stream */

struct look {
    struct admin *admin;
    bool there, made;
    struct buf why;
};

static void look_for_stream(void *job) { /* on a pool thread */
    static const struct bus_stream_config config = {STREAM, "postbus.mail.>", (int64_t)STREAM_DAYS * 24 * 3600};
    struct look *l = job;
    l->there = bus_stream_ensure(l->admin->worker->bus, &config, &l->made, &l->why) == BUS_STREAM_OK;
}

static void looked(void *job) {
    struct look *l = job;
    struct admin *a = l->admin;
    if (l->made) log_info("the stream of mail events was created", "stream", STREAM, NULL);
    if (!l->there)
        log_warn("the stream of mail events cannot be reached", "stream", STREAM, "reason", buf_str(&l->why), NULL);
    a->journal_ready = l->there;
    a->journal_busy = false;
    struct timeval again = {.tv_sec = l->there ? LOOK_SECONDS : LOOK_AGAIN_SECONDS};
    if (a->journal_clock) evtimer_add(a->journal_clock, &again);
    buf_free(&l->why);
    free(l);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct admin *a = ctx;
    (void)fd, (void)what;
    if (a->journal_busy) return;
    if (!bus_is_ready(a->worker->bus)) {
        struct timeval soon = {.tv_usec = 200000};
        a->journal_ready = false;
        evtimer_add(a->journal_clock, &soon);
        return;
    }
    struct look *l = memory_alloc(sizeof *l);
    l->admin = a;
    a->journal_busy = true;
    service_offload(a->worker, look_for_stream, looked, l);
}

void journal_start(struct admin *a) {
    struct timeval now = {0};
    a->journal_clock = evtimer_new(a->worker->base, on_clock, a);
    evtimer_add(a->journal_clock, &now);
}

void journal_stop(struct admin *a) {
    event_free(a->journal_clock);
    a->journal_clock = NULL;
}

/* A message's events */

struct reading {
    struct request *request;
    journal_fn *then;
    char subject[64];
    json_t *events;
    int error;
};

static void add_event(void *ctx, struct slice bytes) {
    struct reading *g = ctx;
    json_t *event = json_loadb(bytes.p, bytes.n, 0, NULL);
    if (event) json_array_append_new(g->events, event);
}

static void read_events(void *job) { /* on a pool thread */
    struct reading *g = job;
    g->error = bus_stream_read(g->request->admin->worker->bus, STREAM, g->subject, JOURNEY_EVENTS_MAX, add_event, g);
}

static void events_read(void *job) {
    struct reading *g = job;
    struct request *r = g->request;
    if (g->error == BUS_STREAM_GONE) r->admin->journal_ready = false;
    if (g->error)
        request_problem(r, 503, "the stream of mail events cannot be read now: try again");
    else if (json_array_size(g->events) == 0)
        request_problem(r, 404, "no event of this message is known: journeys are kept for 7 days");
    else
        g->then(r, g->events);
    json_decref(g->events);
    free(g);
}

void journal_read(struct request *r, journal_fn *then) {
    if (!ulid_is_valid(slice_of(r->part))) {
        request_problem(r, 400,
                        "this is not a message id: 26 characters as in the Received field or the reply to DATA");
        return;
    }
    if (!bus_is_ready(r->admin->worker->bus)) {
        request_problem(r, 503, "the bus cannot be reached: try again");
        return;
    }
    struct reading *g = memory_alloc(sizeof *g);
    g->request = r;
    g->then = then;
    g->events = json_array();
    snprintf(g->subject, sizeof g->subject, "postbus.mail.*.%s", r->part);
    service_offload(r->admin->worker, read_events, events_read, g);
}

static void answer_journey(struct request *r, const json_t *events) {
    request_answer(r, 200, json_pack("{s:s,s:o}", "id", r->part, "steps", journey_steps(events)));
}

void journey_get(struct request *r) { journal_read(r, answer_journey); }
