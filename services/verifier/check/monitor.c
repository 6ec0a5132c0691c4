/* Checks every hosted domain regularly. One replica does it: the holder of a lease
 * (LEASE_DNS_CHECK) that lasts as long as the time between two rounds and is neither extended nor
 * released. While it lasts, no other round begins. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/ulid.h"
#include "libcommon/mail/domain.h"
#include "libcommon/store/domain_note.h"
#include "libcommon/store/lease.h"
#include "services/verifier/check/check.h"
#include "services/verifier/domain_list.h"

/* For the last round of this replica; 0 on a replica that did not do the last two rounds. Over all
 * replicas use max(). */
static struct metric records_wrong = METRIC_GAUGE(
    "postbus_verifier_dns_records_wrong", "Records of hosted domains that are missing, wrong or in conflict in DNS");
static struct metric checks_done =
    METRIC_COUNTER("postbus_verifier_dns_checks_total", "Regular checks of a domain's DNS");

enum { START_SECONDS = 30, TICKS_PER_ROUND = 10, TICK_SECONDS_MAX = 60 };

struct dns_monitor {
    struct verifier *verifier;
    struct event *clock;
    int64_t every_seconds, last_round_us;
    int pending; /* callbacks that will come */
    bool closing, in_round;
    struct domain_list list;
    json_t *names; /* the round's domains */
    size_t at;
    int64_t wrong;
};

static void monitor_free(struct dns_monitor *m) {
    json_decref(m->names);
    free(m);
}

/* A callback arrived: false when the worker ends and there is nothing more to do. */
static bool goes_on(struct dns_monitor *m) {
    m->pending--;
    if (m->closing && m->pending == 0) {
        monitor_free(m);
        return false;
    }
    return !m->closing;
}

static void check_next(struct dns_monitor *m);

static void on_checked(void *ctx, json_t *result, const char *code) {
    struct dns_monitor *m = ctx;
    (void)code;
    if (!goes_on(m)) {
        json_decref(result);
        return;
    }
    if (result) {
        m->wrong += json_integer_value(json_object_get(result, "wrong"));
        check_keep(m->verifier, result);
        json_decref(result);
        metric_add(&checks_done, 1);
    }
    check_next(m);
}

static void check_next(struct dns_monitor *m) {
    char domain[DOMAIN_BYTES];
    while (m->at < json_array_size(m->names)) {
        const char *name = json_string_value(json_array_get(m->names, m->at++));
        if (!name || domain_normalise(slice_of(name), domain)) continue;
        if (m->verifier->check_count >= CHECK_RUNS_MAX)
            continue; /* requested checks have priority; the domain is checked in the next round */
        m->pending++;
        check_run(m->verifier, domain, on_checked, m);
        return;
    }
    m->in_round = false;
    metric_set(&records_wrong, m->wrong);
}

static void on_domain(void *ctx, const char *domain) {
    struct dns_monitor *m = ctx;
    json_array_append_new(m->names, json_string(domain));
}

static void on_domains(void *ctx, bool whole) {
    struct dns_monitor *m = ctx;
    if (!whole) {
        m->in_round = false; /* the next round tries again */
        return;
    }
    m->wrong = 0;
    m->at = 0;
    check_next(m);
}

static void on_lease(void *ctx, int error) {
    struct dns_monitor *m = ctx;
    bool mine = error == 0;
    int64_t now = clock_monotonic_us();
    if (!goes_on(m)) return;
    if (!mine) {
        if (now - m->last_round_us > 2 * m->every_seconds * 1000000) metric_set(&records_wrong, 0);
        return;
    }
    if (m->in_round) return; /* a long round is still running; the lease prevents a second one */
    m->in_round = true;
    m->last_round_us = now;
    json_decref(m->names);
    m->names = json_array();
    domain_list_read(&m->list, m->verifier->worker->bus, on_domain, on_domains, m);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct dns_monitor *m = ctx;
    int64_t tick = m->every_seconds / TICKS_PER_ROUND;
    struct timeval delay = {tick < 1 ? 1 : tick > TICK_SECONDS_MAX ? TICK_SECONDS_MAX : tick, 0};
    char token[ULID_BYTES];
    event_add(m->clock, &delay);
    if (domain_list_is_read(&m->list)) return;
    ulid_create(token); /* a new token for each round, so that the previous lease is not extended */
    m->pending++;
    lease_acquire(m->verifier->worker->redis, SLICE(LEASE_DNS_CHECK), token, m->every_seconds * 1000, on_lease, m);
}

struct dns_monitor *dns_monitor_create(struct verifier *v) {
    int64_t every = config_number("POSTBUS_DNS_CHECK_SECONDS", CHECK_EVERY_SECONDS, 0, 604800);
    if (every == 0) return NULL;
    struct timeval soon = {every < START_SECONDS ? every : START_SECONDS, 0};
    struct dns_monitor *m = memory_alloc(sizeof *m);
    m->verifier = v;
    m->every_seconds = every;
    m->clock = event_new(v->worker->base, -1, 0, on_clock, m);
    if (!m->clock) memory_exhausted();
    event_add(m->clock, &soon);
    metric_set(&records_wrong, 0);
    return m;
}

void dns_monitor_destroy(struct dns_monitor *m) {
    if (!m) return;
    m->closing = true;
    event_free(m->clock);
    domain_list_stop(&m->list);
    if (m->pending == 0) monitor_free(m); /* otherwise the last callback does this */
}
