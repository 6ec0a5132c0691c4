#include "services/delivery/destination/route.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "services/delivery/limits.h"

enum { BUCKETS = 1024 };

struct waiting {
    struct waiting *next;
    route_fn *done;
    void *ctx;
};

struct route {
    struct routes *routes;
    struct route *next;
    char domain[DOMAIN_BYTES];
    bool asking;
    int64_t asked_us;
    json_t *answer;
    char *routed; /* the event's data, for all messages that use this answer */
    struct waiting *first, **last;
};

struct routes {
    struct bus *bus;
    struct event *tell, *sweep;
    size_t asking;
    struct route *buckets[BUCKETS];
};

static size_t bucket_of(const char *domain) {
    size_t h = 5381;
    for (; *domain; domain++) h = h * 33 + (unsigned char)*domain;
    return h % BUCKETS;
}

/* Callbacks are called from the loop, because one of them may ask for the next route. */
static void tell(struct route *r) {
    struct waiting *w = r->first;
    json_t *answer = json_incref(r->answer);
    r->first = NULL;
    r->last = &r->first;
    while (w) {
        struct waiting *next = w->next;
        w->done(w->ctx, answer, r->routed ? slice_of(r->routed) : SLICE(""));
        free(w);
        w = next;
    }
    json_decref(answer);
}

static void on_tell(evutil_socket_t fd, short what, void *ctx) {
    struct routes *all = ctx;
    (void)fd, (void)what;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct route *r = all->buckets[i]; r; r = r->next)
            if (!r->asking && r->first) tell(r);
}

static bool is_fresh(const struct route *r) {
    return r->answer && clock_monotonic_us() - r->asked_us < (int64_t)DELIVERY_ROUTE_KEPT_MS * 1000;
}

static void route_free(struct route *r) {
    for (struct waiting *w = r->first, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    json_decref(r->answer);
    free(r->routed);
    free(r);
}

static void on_sweep(evutil_socket_t fd, short what, void *ctx) {
    struct routes *all = ctx;
    (void)fd, (void)what;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct route **at = &all->buckets[i]; *at;) {
            struct route *r = *at;
            if (r->asking || r->first || is_fresh(r)) {
                at = &r->next;
                continue;
            }
            *at = r->next;
            route_free(r);
        }
}

struct routes *routes_create(struct event_base *base, struct bus *b) {
    struct routes *all = memory_alloc(sizeof *all);
    struct timeval often = {2, 0};
    all->bus = b;
    all->tell = event_new(base, -1, 0, on_tell, all);
    all->sweep = event_new(base, -1, EV_PERSIST, on_sweep, all);
    event_add(all->sweep, &often);
    return all;
}

void routes_destroy(struct routes *all) {
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct route *r = all->buckets[i], *next; r; r = next) {
            next = r->next;
            route_free(r);
        }
    event_free(all->tell);
    event_free(all->sweep);
    free(all);
}

static char *routed_data(const char *domain, json_t *route) {
    json_t *sts = json_object_get(route, "mta_sts"), *host;
    bool dane = false;
    size_t i;
    json_array_foreach(json_object_get(route, "hosts"), i, host) dane =
        dane || json_array_size(json_object_get(host, "tlsa")) > 0;
    json_t *data = json_pack("{s:s,s:O,s:O,s:O?,s:b}", "domain", domain, "hosts", json_object_get(route, "hosts"),
                             "dnssec", json_object_get(route, "dnssec"), "mta_sts", sts, "dane", dane);
    char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    json_decref(data);
    return text;
}

static void on_answer(void *ctx, int error, const json_t *reply) {
    struct route *r = ctx;
    r->asking = false;
    r->routes->asking--;
    json_decref(r->answer);
    r->answer =
        error || !json_is_string(json_object_get(reply, "result")) ? NULL : json_incref((json_t *)(uintptr_t)reply);
    free(r->routed);
    r->routed =
        r->answer && json_is_array(json_object_get(r->answer, "hosts")) ? routed_data(r->domain, r->answer) : NULL;
    tell(r);
}

bool routes_asking(const struct routes *r) { return r->asking > 0; }

void route_ask(struct routes *all, struct slice domain, route_fn *done, void *ctx) {
    char name[DOMAIN_BYTES];
    if (domain_normalise(domain, name) != 0) { /* an address literal or an invalid name: the
                                                  verifier decides */
        size_t n = domain.n < sizeof name ? domain.n : sizeof name - 1;
        memcpy(name, domain.p, n);
        name[n] = 0;
    }
    struct route **at = &all->buckets[bucket_of(name)];
    while (*at && strcmp((*at)->domain, name) != 0) at = &(*at)->next;
    struct route *r = *at;
    if (!r) {
        r = *at = memory_alloc(sizeof *r);
        r->routes = all;
        r->last = &r->first;
        memcpy(r->domain, name, sizeof name);
    }
    struct waiting *w = memory_alloc(sizeof *w);
    *w = (struct waiting){NULL, done, ctx};
    *r->last = w;
    r->last = &w->next;
    if (r->asking) return;
    if (is_fresh(r)) {
        event_active(all->tell, EV_TIMEOUT, 0);
        return;
    }
    r->asking = true;
    all->asking++;
    r->asked_us = clock_monotonic_us();
    bus_request(all->bus, "verifier.route", json_pack("{s:s}", "domain", r->domain), DELIVERY_ROUTE_MS, on_answer, r);
}
