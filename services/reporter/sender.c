/* The timer of outgoing reports: closes the periods that are over, and sends their buckets one
 * after another. A bucket is sent under a lease that expires, so that another replica continues a
 * killed replica's work, and no two replicas send the same report. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/reporter/reporter.h"

enum { LOOK_MS = 1000, FORGET_SECONDS = 3600, FORGET_ONCE = 100 };

struct sender {
    struct reporter *reporter;
    struct event *clock;
    int64_t closed, forgot; /* times of the last closing and the last expiry that this worker
                               knows */
};

static void again(struct sender *s, int ms) {
    struct timeval wait = {ms / 1000, ms % 1000 * 1000};
    s->reporter->sending = false;
    event_add(s->clock, &wait);
    reporter_check_drained(s->reporter);
}

static void on_sent(void *ctx) { again(ctx, 0); /* the next bucket */ }

static void on_taken(void *ctx, int error, const struct report_due *due) {
    struct sender *s = ctx;
    if (error || !due->bucket)
        again(s, LOOK_MS);
    else
        outgoing_start(s->reporter, due, on_sent, s);
}

static void take(struct sender *s) {
    report_take(s->reporter->worker->redis, clock_wall_ms() / 1000, LEASE_SECONDS, s->reporter->token, on_taken, s);
}

static void on_closed(void *ctx, int error, long long value) {
    struct sender *s = ctx;
    (void)value;
    if (error) s->closed = 0;
    take(s);
}

static void on_forgotten(void *ctx, int error, long long value) {
    struct sender *s = ctx;
    if (!error && value < FORGET_ONCE) s->forgot = clock_wall_ms() / 1000;
    again(s, error ? LOOK_MS : 0);
}

static void forget(struct sender *s, int64_t now) {
    char first[ULID_BYTES];
    int64_t since = now - s->reporter->settings.keep_days * 86400;
    report_ulid(since * 1000, "", first);
    memset(first + 10, '0', ULID_LENGTH - 10);
    report_forget(s->reporter->worker->redis, first, since / 86400, FORGET_ONCE, on_forgotten, s);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct sender *s = ctx;
    struct reporter *r = s->reporter;
    int64_t now = clock_wall_ms() / 1000, until = intake_known_until(r);
    (void)fd, (void)what;
    if (r->draining) return;
    s->reporter->sending = true;
    if (!bus_is_ready(r->worker->bus) || !redis_is_ready(r->worker->redis)) {
        again(s, LOOK_MS);
        return;
    }
    if (s->forgot + FORGET_SECONDS <= now) {
        forget(s, now);
        return;
    }
    /* a period is closed when its delay is over and all events until then are counted */
    int64_t over = until - r->settings.delay;
    over -= over % r->settings.interval;
    if (until && over > s->closed) {
        s->closed = over;
        report_close(r->worker->redis, over, on_closed, s);
    } else {
        take(s);
    }
}

void sender_start(struct reporter *r) {
    struct sender *s = memory_alloc(sizeof *s);
    struct timeval soon = {0};
    s->reporter = r;
    r->sender = s;
    ulid_create(r->token);
    s->clock = evtimer_new(r->worker->base, on_clock, s);
    event_add(s->clock, &soon);
}

void sender_stop(struct reporter *r) {
    if (!r->sender) return;
    event_free(r->sender->clock);
    free(r->sender);
    r->sender = NULL;
}
