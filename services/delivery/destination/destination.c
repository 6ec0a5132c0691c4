#include "services/delivery/destination/destination.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/delivery/destination/connector.h"
#include "services/delivery/destination/window.h"

enum { BUCKETS = 1024, KEY_BYTES = 16, SESSIONS_MAX = DESTINATION_WINDOW_MAX };

static struct metric connections =
    METRIC_COUNTER("postbus_delivery_connections_total", "SMTP sessions that were opened");
static struct metric transactions = METRIC_COUNTER("postbus_delivery_transactions_total", "SMTP transactions begun");
static struct metric parked =
    METRIC_COUNTER("postbus_delivery_parked_total", "Recipients put off for want of room to wait");
static struct metric known = METRIC_GAUGE("postbus_delivery_destinations", "Destinations in memory");

struct destination {
    struct destinations *all;
    struct destination *next;
    struct life life;
    unsigned char key[KEY_BYTES];
    json_t *route;
    char domain[300];
    struct tls_wish wish;
    struct window window;
    int64_t used_ms;
    bool forced; /* an attempt was requested, even during a pause */

    struct transaction *first, **last;
    size_t waiting;
    struct session *sessions[SESSIONS_MAX];
    size_t session_count;
    struct connector *connectors[SESSIONS_MAX];
    size_t connector_count;
    char reason[600], host[300], enhanced[16]; /* of the last failure */
    int code;
};

struct destinations {
    struct delivery *delivery;
    struct destination *buckets[BUCKETS];
    size_t window_max, open, waiting; /* open: sessions and connectors of all */
    struct event *sweep;
};

/* Finding */

static void make_key(const json_t *route, const struct tls_wish *wish, unsigned char key[KEY_BYTES]) {
    json_t *hosts = json_array(), *host;
    size_t i;
    json_array_foreach(json_object_get(route, "hosts"), i, host) json_array_append_new(
        hosts, json_pack("{s:O*,s:O*,s:O*,s:O*}", "name", json_object_get(host, "name"), "preference",
                         json_object_get(host, "preference"), "tlsa", json_object_get(host, "tlsa"), "tlsa_names",
                         json_object_get(host, "tlsa_names")));
    json_t *all = json_pack("{s:o,s:O*,s:O*,s:b,s:b,s:b}", "hosts", hosts, "sts", json_object_get(route, "mta_sts"),
                            "dnssec", json_object_get(route, "dnssec"), "dane", wish->dane, "required", wish->required,
                            "waived", wish->waived);
    char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text) memory_exhausted();
    crypto_generichash(key, KEY_BYTES, (const unsigned char *)text, strlen(text), NULL, 0);
    free(text);
    json_decref(all);
}

bool destination_route_demands_tls(const json_t *route) {
    const json_t *host;
    size_t i;
    json_array_foreach(json_object_get(route, "hosts"), i,
                       host) if (json_array_size(json_object_get(host, "tlsa"))) return true;
    return json_is_object(json_object_get(route, "mta_sts")) || json_is_string(json_object_get(route, "tls_rpt"));
}

static void run(void *ctx);
static void destination_free(void *ctx);

struct destination *destination_find(struct destinations *all, json_t *route, const char *domain,
                                     const struct tls_wish *wish) {
    unsigned char key[KEY_BYTES];
    make_key(route, wish, key);
    struct destination **at = &all->buckets[(key[0] | key[1] << 8) % BUCKETS];
    while (*at && memcmp((*at)->key, key, KEY_BYTES) != 0) at = &(*at)->next;
    struct destination *dest = *at;
    if (!dest) {
        dest = *at = memory_alloc(sizeof *dest);
        dest->all = all;
        dest->last = &dest->first;
        dest->wish = *wish;
        dest->window = window_begin();
        memcpy(dest->key, key, KEY_BYTES);
        life_start(&dest->life, all->delivery->worker->base, run, destination_free, dest);
        metric_add(&known, 1);
    }
    json_decref(dest->route);
    dest->route = json_incref(route); /* the newest route, because addresses may have changed */
    snprintf(dest->domain, sizeof dest->domain, "%s", domain);
    dest->used_ms = clock_wall_ms();
    return dest;
}

/* Waiting */

static void count_waiting(struct destination *dest, long n) {
    dest->waiting = (size_t)((long)dest->waiting + n);
    dest->all->waiting = (size_t)((long)dest->all->waiting + n);
}

static void push_front(struct destination *dest, struct transaction *t) {
    t->next = dest->first;
    if (!dest->first) dest->last = &t->next;
    dest->first = t;
    count_waiting(dest, 1);
}

static struct transaction *pop(struct destination *dest) {
    struct transaction *t = dest->first;
    if (!t) return NULL;
    dest->first = t->next;
    if (!dest->first) dest->last = &dest->first;
    t->next = NULL;
    count_waiting(dest, -1);
    return t;
}

/* Behind those that are at least as urgent. */
static void push(struct destination *dest, struct transaction *t) {
    struct transaction **at = &dest->first;
    int priority = t->owner->envelope->priority;
    if (!priority && dest->first && !dest->first->owner->envelope->priority) at = dest->last;
    while (*at && (*at)->owner->envelope->priority >= priority) at = &(*at)->next;
    t->next = *at;
    *at = t;
    if (!t->next) dest->last = &t->next;
    count_waiting(dest, 1);
}

static struct outcome last_failure(const struct destination *dest, int64_t now) {
    return (struct outcome){.kind = OUTCOME_DEFERRED,
                            .code = dest->code,
                            .enhanced = *dest->enhanced ? dest->enhanced : "4.4.1",
                            .reason = *dest->reason ? dest->reason : "the destination is left alone after failures",
                            .host = dest->host,
                            .retry_ms = dest->window.until_ms - now + 1 + (int64_t)randombytes_uniform(2000),
                            .not_counted = true};
}

static void settle_now(const struct transaction_owner *owner, struct slice from, size_t count, const size_t indexes[],
                       const struct outcome *o) {
    transaction_settle(transaction_create(owner, from, count, indexes), o);
}

void destination_add(struct destination *dest, const struct transaction_owner *owner, struct slice from, bool forced,
                     size_t count, const size_t indexes[]) {
    int64_t now = clock_wall_ms();
    if (window_is_closed(&dest->window, now) && !forced) {
        struct outcome o = last_failure(dest, now);
        settle_now(owner, from, count, indexes, &o);
        return;
    }
    for (struct transaction *t = dest->first; t; t = t->next)
        if (t->owner == owner && slice_equal(t->from, from)) {
            for (size_t i = 0; i < count; i++) transaction_add(t, indexes[i]);
            return;
        }
    if (dest->waiting >= window_room(&dest->window, dest->all->waiting)) {
        metric_add(&parked, (int64_t)count);
        struct outcome o = {.kind = OUTCOME_DEFERRED,
                            .code = 451,
                            .enhanced = "4.3.2",
                            .reason = dest->window.proven ? "other mail to the destination goes first"
                                                          : "the destination has not taken any mail yet",
                            .host = "",
                            .retry_ms = window_park_ms(now - owner->envelope->received_ms, randombytes_random()),
                            .not_counted = true};
        settle_now(owner, from, count, indexes, &o);
        return;
    }
    struct transaction *t = transaction_create(owner, from, count, indexes);
    t->forced = forced;
    dest->forced = dest->forced || forced;
    push(dest, t);
    life_wake(&dest->life);
}

/* Connections */

static void remove_session(struct destination *dest, size_t i) {
    session_destroy(dest->sessions[i]);
    dest->sessions[i] = dest->sessions[--dest->session_count];
    dest->all->open--;
}

static void remove_connector(struct destination *dest, size_t i) {
    connector_destroy(dest->connectors[i]);
    dest->connectors[i] = dest->connectors[--dest->connector_count];
    dest->all->open--;
}

static void drop_lost(struct destination *dest, bool all) {
    struct transaction *t, *keep = NULL, **last = &keep;
    while ((t = pop(dest))) {
        if (all || !t->owner->may_go_on(t->owner->ctx)) {
            transaction_drop(t);
            continue;
        }
        *last = t;
        last = &t->next;
    }
    while (keep) {
        t = keep;
        keep = t->next;
        push(dest, t);
    }
}

static void settle_waiting(struct destination *dest, const struct outcome *o) {
    struct transaction *t;
    while ((t = pop(dest))) transaction_settle(t, o);
}

/* None of its servers could be used. */
static void on_failure(struct destination *dest, const struct outcome *o) {
    int64_t now = clock_wall_ms();
    if (dest->session_count) { /* other sessions are open: the servers do not accept more
                                  connections */
        window_crowded(&dest->window, dest->session_count, now);
        return;
    }
    if (o->kind == OUTCOME_BOUNCED) {
        settle_waiting(dest, o);
        return;
    }
    if (!window_is_closed(&dest->window, now)) /* otherwise this attempt began before the pause, or
                                                  was requested */
        window_failed(&dest->window, &dest->all->delivery->policy, now, randombytes_random());
    dest->code = o->code;
    snprintf(dest->enhanced, sizeof dest->enhanced, "%s", o->enhanced);
    snprintf(dest->reason, sizeof dest->reason, "%s", o->reason);
    snprintf(dest->host, sizeof dest->host, "%s", o->host);
    struct outcome all = last_failure(dest, now);
    all.not_counted = false;
    settle_waiting(dest, &all);
}

static void look_at_connectors(struct destination *dest) {
    for (size_t i = 0; i < dest->connector_count;) {
        struct outcome o;
        if (!connector_is_done(dest->connectors[i])) {
            i++;
            continue;
        }
        struct session *s = connector_take(dest->connectors[i], &o);
        if (s) {
            metric_add(&connections, 1);
            dest->sessions[dest->session_count++] = s;
            dest->all->open++;
            window_opened(&dest->window);
        } else {
            on_failure(dest, &o);
        }
        remove_connector(dest, i);
    }
}

static void look_at_sessions(struct destination *dest) {
    for (size_t i = 0; i < dest->session_count;) {
        struct session *s = dest->sessions[i];
        struct transaction *rest = session_left_over(s);
        if (rest) push_front(dest, rest);
        for (size_t n = session_take_answered(s); n; n--)
            window_succeeded(&dest->window, dest->all->window_max, clock_wall_ms());
        if (session_state(s) != SESSION_CLOSED) {
            i++;
            continue;
        }
        if (session_broke(s)) window_crowded(&dest->window, dest->window.size / 2, clock_wall_ms());
        remove_session(dest, i);
    }
}

static void feed(struct destination *dest) {
    for (size_t i = 0; i < dest->session_count && dest->first; i++) {
        struct session *s = dest->sessions[i];
        while (session_state(s) == SESSION_IDLE && dest->first) {
            struct transaction *t = pop(dest), *rest = transaction_split(t, session_rcpts_max(s));
            if (rest) push_front(dest, rest);
            metric_add(&transactions, 1);
            session_begin(s, t);
        }
    }
}

/* If a destination has no connection, an idle connection of another is closed for it. */
static bool has_room(struct destinations *all) {
    if (all->open < DESTINATION_SESSIONS_MAX) return true;
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct destination *dest = all->buckets[b]; dest; dest = dest->next)
            for (size_t i = 0; i < dest->session_count; i++)
                if (session_state(dest->sessions[i]) == SESSION_IDLE && !dest->first) {
                    remove_session(dest, i);
                    return true;
                }
    return false;
}

/* The message for which the n-th connection that is being made now is wanted. */
static const char *wanted_by(const struct destination *dest, size_t n) {
    const struct transaction *t = dest->first;
    while (n-- && t->next) t = t->next;
    return t->owner->envelope->id;
}

static void connect_more(struct destination *dest) {
    struct destinations *all = dest->all;
    size_t allowed = window_allows(&dest->window, all->window_max);
    if (window_is_closed(&dest->window, clock_wall_ms()) && !dest->forced) return;
    while (dest->connector_count < dest->waiting && dest->session_count + dest->connector_count < allowed &&
           dest->connector_count < SESSIONS_MAX && has_room(all)) {
        struct connector *c =
            connector_create(&(struct connector_settings){.delivery = all->delivery,
                                                          .route = dest->route,
                                                          .domain = dest->domain,
                                                          .id = wanted_by(dest, dest->connector_count),
                                                          .wish = dest->wish,
                                                          .owner = &dest->life});
        dest->connectors[dest->connector_count++] = c;
        all->open++;
    }
    dest->forced = false;
}

static void run(void *ctx) {
    struct destination *dest = ctx;
    look_at_sessions(dest);
    look_at_connectors(dest);
    if (service_is_draining()) {
        drop_lost(dest, true);
        return;
    }
    feed(dest);
    if (dest->first) connect_more(dest);
}

/* The whole */

static void destination_free(void *ctx) {
    struct destination *dest = ctx;
    json_decref(dest->route);
    metric_add(&known, -1);
    free(dest);
}

static void close_all(struct destination *dest, bool but_final) {
    drop_lost(dest, true);
    while (dest->connector_count) remove_connector(dest, 0);
    for (size_t i = 0; i < dest->session_count;) {
        if (but_final && session_awaits_final_reply(dest->sessions[i])) {
            i++;
            continue;
        }
        remove_session(dest, i);
    }
}

void destinations_sweep(struct destinations *all) {
    int64_t now = clock_wall_ms();
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct destination **at = &all->buckets[b]; *at;) {
            struct destination *dest = *at;
            look_at_sessions(dest);
            if (service_is_draining())
                close_all(dest, true);
            else
                drop_lost(dest, false);
            bool used = dest->first || dest->session_count || dest->connector_count ||
                        now - dest->used_ms < DESTINATION_FORGOTTEN_MS || window_is_closed(&dest->window, now);
            if (dest->first) life_wake(&dest->life); /* there may be room now */
            if (used) {
                at = &dest->next;
                continue;
            }
            *at = dest->next;
            life_end(&dest->life);
        }
}

static void on_sweep(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    destinations_sweep(ctx);
}

struct destinations *destinations_create(struct delivery *d) {
    struct destinations *all = memory_alloc(sizeof *all);
    struct timeval often = {2, 0};
    all->delivery = d;
    all->window_max = DESTINATION_WINDOW_MAX;
    all->sweep = event_new(d->worker->base, -1, EV_PERSIST, on_sweep, all);
    event_add(all->sweep, &often);
    return all;
}

void destinations_destroy(struct destinations *all) {
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct destination *dest = all->buckets[b], *next; dest; dest = next) {
            next = dest->next;
            close_all(dest, false);
            life_destroy_now(&dest->life);
        }
    event_free(all->sweep);
    free(all);
}

size_t destinations_in_work(const struct destinations *all) { return all->open + all->waiting; }

void destinations_set_workers(struct destinations *all, size_t workers) {
    size_t share = workers ? (DESTINATION_WINDOW_MAX + workers - 1) / workers : DESTINATION_WINDOW_MAX;
    all->window_max = share ? share : 1;
}
