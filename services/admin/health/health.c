/* /api/v1/health: the state of each part of the system, and what to do about a part that does not
 * work. 200 when the bus, the store and accounts answer; otherwise 503. One check serves all
 * requests that arrive during it and within a second after it, so that many requests do not load
 * the other services. */
#include "services/admin/health/health.h"

#include <event2/dns.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "services/admin/admin.h"
#include "services/admin/health/doors.h"

enum { ASK_WITHIN_MS = 2000, DOOR_WITHIN_MS = 3000, CACHE_US = 1000000, DOMAIN_BYTES_MAX = 256 };

/* Any answer, also a refusal, shows that the service works; no answer or "unavailable" shows that
 * it does not. */
static const struct part {
    const char *name, *verb, *ask;
} parts[] = {
    {"accounts", "accounts.domain.list", "{\"limit\":1}"},
    {"verifier", "verifier.dns.records", "{\"domain\":\"health.invalid\"}"},
    {"mailbox", "mailbox.stat", "{\"user\":\"00000000000000000000000000\"}"},
    {"delivery", "delivery.queue.list", "{\"limit\":1}"},
    {"reporter", "reporter.sent", "{\"limit\":1}"},
};
enum { PARTS = sizeof parts / sizeof *parts };

struct health {
    struct admin *admin;
    struct evdns_base *dns;
    SSL_CTX *tls;
    struct doors doors;
    json_t *last; /* the answer of the last check, and its time */
    int64_t last_us;

    struct request **asking; /* the requests that wait for this check */
    size_t asking_count;
    json_t *components; /* NULL: no check is running */
    int waiting;
    bool accounts, store, store_full;
    char domain[DOMAIN_BYTES_MAX]; /* the domain whose SOA record is queried */
};

struct one {
    struct health *health;
    const char *name;
    const struct door *door; /* NULL: a service on the bus */
};

static void answer(struct request *r, const json_t *health) {
    unsigned status = strcmp(json_string_value(json_object_get(health, "status")), "unavailable") == 0 ? 503 : 200;
    request_answer(r, status, json_deep_copy(health));
}

static void set(struct health *h, const char *name, const char *state, const char *reason, const char *remedy) {
    json_t *component = json_pack("{s:s}", "state", state);
    if (reason) json_object_set_new(component, "reason", json_string(reason));
    if (remedy) json_object_set_new(component, "remedy", json_string(remedy));
    json_object_set_new(h->components, name, component);
}

static void finish(struct health *h) {
    struct admin *a = h->admin;
    bool bus = bus_is_ready(a->worker->bus), all = true;
    const char *key;
    json_t *component;
    if (bus)
        set(h, "bus", "up", NULL, NULL);
    else
        set(h, "bus", "down", "NATS cannot be reached",
            "start the service nats, and read its log: mail is deferred until then");
    if (h->store_full)
        set(h, "store", "failing", "Redis has reached the limit of its memory or its disk: mail is refused with 452",
            "read the log of the service redis; give it more memory or disk, or delete mail (docs/deploying.md, Memory "
            "and disk)");
    else if (h->store)
        set(h, "store", "up", NULL, NULL);
    else
        set(h, "store", "down", "Redis does not answer",
            "start the service redis, and read its log: nothing is accepted until then");
    if (a->journal_ready)
        set(h, "journal", "up", NULL, NULL);
    else
        set(h, "journal", "down", "the stream of mail events cannot be reached",
            "wait a minute, then read the logs of admin and nats: the disk of nats may be full. Mail is not affected");
    json_object_foreach(h->components, key, component) all =
        all && strcmp(json_string_value(json_object_get(component, "state")), "up") == 0;
    json_decref(h->last);
    h->last = json_pack("{s:s,s:s,s:o}", "status",
                        !bus || !h->store || !h->accounts ? "unavailable"
                        : all                             ? "ok"
                                                          : "degraded",
                        "hostname", a->worker->hostname, "components", h->components);
    h->last_us = clock_monotonic_us();
    h->components = NULL;
    for (size_t i = 0; i < h->asking_count; i++) answer(h->asking[i], h->last);
    h->asking_count = 0;
}

static void one_done(struct health *h) {
    if (--h->waiting == 0) finish(h);
}

/* Doors */

static void on_door(void *ctx, const char *why) {
    struct one *o = ctx;
    const struct door *d = o->door;
    char remedy[512];
    if (d->target.kind == PROBE_SOA)
        snprintf(remedy, sizeof remedy,
                 "start the name server %s (port %d), or read its log and the verifier's; check that "
                 "POSTBUS_DNS_SERVER names it and that the zone was published",
                 d->host, d->target.port);
    else
        snprintf(
            remedy, sizeof remedy,
            "start the service at %s (port %d), or read its log; if it has another address, set POSTBUS_HEALTH_DOORS",
            d->host, d->target.port);
    set(o->health, d->name, why ? "down" : "up", why, why ? remedy : NULL);
    one_done(o->health);
    free(o);
}

static void look_at(struct health *h, const struct door *d) {
    struct one *o = memory_alloc(sizeof *o);
    *o = (struct one){h, d->name, d};
    h->waiting++;
    probe_start(h->admin->worker->base, h->dns, h->tls, &d->target, DOOR_WITHIN_MS, on_door, o);
}

/* The zone of a hosted domain must exist; without a hosted domain, any answer shows that the name
 * server works. */
static void look_at_dns(struct health *h, const json_t *domains) {
    const char *first = json_string_value(json_array_get(domains, 0));
    if (!*h->doors.dns.host) return;
    snprintf(h->domain, sizeof h->domain, "%s", first ? first : "");
    h->doors.dns.target.server_name = first ? h->domain : NULL;
    look_at(h, &h->doors.dns);
}

/* Services on the bus, and the store */

static void on_answer(void *ctx, int error, const json_t *reply) {
    struct one *o = ctx;
    struct health *h = o->health;
    const char *code = bus_error_code(reply),
               *message = json_string_value(json_object_get(json_object_get(reply, "error"), "message"));
    bool up = error == BUS_OK || (error == BUS_REFUSED && strcmp(code, "unavailable") != 0);
    char remedy[256];
    snprintf(remedy, sizeof remedy, reply ? "read the log of the service %s" : "start the service %s, or read its log",
             o->name);
    set(h, o->name,
        up      ? "up"
        : reply ? "failing"
                : "down",
        up      ? NULL
        : reply ? message ? message : "it reports that it cannot work"
                : "it does not answer on the bus",
        up ? NULL : remedy);
    if (strcmp(o->name, "accounts") == 0) {
        h->accounts = up;
        look_at_dns(h, json_object_get(reply, "domains"));
    }
    free(o);
    one_done(h);
}

/* A command that Redis refuses at its memory limit and that writes nothing: it changes a member,
 * which does not exist, of a set that does not exist. */
static void ask_store(struct health *h, redis_reply_fn *done) {
    struct slice argv[] = {SLICE("ZADD"), SLICE("health"), SLICE("XX"), SLICE("0"), SLICE("x")};
    redis_command(h->admin->worker->redis, done, h, 5, argv);
}

static void on_store(void *ctx, const redisReply *reply) {
    struct health *h = ctx;
    int error = redis_reply_error(reply);
    h->store_full = error == STORE_FULL;
    h->store = error == 0 || h->store_full;
    one_done(h);
}

void health_get(struct request *r) {
    struct admin *a = r->admin;
    struct health *h = a->health;
    if (!h->components && h->last && clock_monotonic_us() - h->last_us < CACHE_US) {
        answer(r, h->last);
        return;
    }
    h->asking = memory_resize(h->asking, (h->asking_count + 1) * sizeof(struct request *));
    h->asking[h->asking_count++] = r;
    if (h->components) return;
    h->components = json_object();
    h->accounts = h->store = false;
    h->waiting = PARTS + 1;
    for (size_t i = 0; i < PARTS; i++) json_object_set_new(h->components, parts[i].name, json_null()); /* the order */
    for (size_t i = 0; i < h->doors.count; i++) json_object_set_new(h->components, h->doors.list[i].name, json_null());
    ask_store(h, on_store);
    for (size_t i = 0; i < PARTS; i++) {
        struct one *o = memory_alloc(sizeof *o);
        *o = (struct one){h, parts[i].name, NULL};
        bus_request(a->worker->bus, parts[i].verb, json_loads(parts[i].ask, 0, NULL), ASK_WITHIN_MS, on_answer, o);
    }
    for (size_t i = 0; i < h->doors.count; i++) look_at(h, &h->doors.list[i]);
}

struct health *health_create(struct admin *a) {
    struct health *h = memory_alloc(sizeof *h);
    h->admin = a;
    doors_read(&h->doors, a->worker->hostname);
    h->dns = evdns_base_new(a->worker->base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (!h->dns) h->dns = evdns_base_new(a->worker->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE); /* no /etc/resolv.conf */
    h->tls = SSL_CTX_new(TLS_client_method());
    if (!h->dns || !h->tls) memory_exhausted();
    evdns_base_set_option(h->dns, "timeout:", "1");
    evdns_base_set_option(h->dns, "attempts:", "2");
    return h;
}

void health_destroy(struct health *h) {
    evdns_base_free(h->dns, 0);
    SSL_CTX_free(h->tls);
    json_decref(h->last);
    free(h->asking);
    free(h);
}
