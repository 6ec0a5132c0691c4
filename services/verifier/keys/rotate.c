#include "services/verifier/keys/rotate.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/base/ulid.h"
#include "libcommon/store/domain_note.h"
#include "libcommon/store/lease.h"
#include "services/verifier/dns/lookup.h"
#include "services/verifier/domain_list.h"
#include "services/verifier/keys/keys.h"
#include "services/verifier/keys/rotation.h"

static struct metric steps_done = METRIC_COUNTER("postbus_verifier_dkim_rotation_steps_total",
                                                 "Steps of DKIM key roll-overs requested from accounts");
static struct metric waiting =
    METRIC_GAUGE("postbus_verifier_dkim_rotations_waiting", "Domains whose new DKIM keys are not in DNS yet");

struct rotator {
    struct verifier *verifier;
    struct rotation_policy policy;
    struct event *clock;
    char me[ULID_BYTES]; /* the lease's token */
    int64_t lease_ms;
    struct timeval pause;
    int64_t publish_ms; /* time for the publisher before the first query, so that NXDOMAIN is not
                           cached */
    bool asked;         /* the lease was requested and there is no answer yet */
    bool closing, mine;
    int64_t list_at;    /* ms */
    json_t *due;        /* {"<domain>": time of its next check, ms} */
    json_t *waiting;    /* {"<domain>": true}: domains whose new keys were not in DNS at the last
                           check */
    json_t *listed;     /* as due: the list that is being read */
    json_t *round;      /* the domains of this turn that have not been checked yet */
    struct step *steps; /* running */
    int step_count;
    struct domain_list list;
};

/* The check of one domain. */
struct step {
    struct rotator *rotator;
    struct step *next;
    struct arena *arena;
    struct lookup *lookup;
    json_t *keys;  /* the published ones */
    int64_t at_ms; /* time of the next check, if nothing changes now */
    uint64_t ticket;
    char domain[256];
};

static void next_steps(struct rotator *r);

static void set_waiting(struct rotator *r, const char *domain, bool is) {
    if (is)
        json_object_set_new(r->waiting, domain, json_true());
    else
        json_object_del(r->waiting, domain);
    metric_set(&waiting, (int64_t)json_object_size(r->waiting));
}

static void come_back(struct rotator *r, const char *domain, int64_t at_ms) {
    json_object_set_new(r->due, domain, json_integer(at_ms));
}

/* s is no longer in the list. */
static void step_free(struct step *s) {
    s->rotator->step_count--;
    lookup_destroy(s->lookup);
    arena_destroy(s->arena);
    json_decref(s->keys);
    free(s);
}

static void step_end(struct step *s, int64_t at_ms) {
    struct rotator *r = s->rotator;
    struct step **at = &r->steps;
    if (json_object_get(r->due, s->domain)) come_back(r, s->domain, at_ms);
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    step_free(s);
    next_steps(r);
}

static void on_stepped(void *ctx, int error, const json_t *reply) {
    struct step *s = ctx;
    size_t i;
    json_t *each;
    s->ticket = 0;
    if (error) {
        log_warn("a step of a DKIM key roll-over failed; it is tried again", "domain", s->domain, "reason",
                 error == BUS_REFUSED ? bus_error_code(reply) : "unavailable", NULL);
        step_end(s, s->at_ms);
        return;
    }
    json_array_foreach(json_object_get(reply, "changed"), i, each)
        log_info("a DKIM key changed", "domain", s->domain, "selector", json_string_value(each), NULL);
    step_end(s, clock_wall_ms() + s->rotator->publish_ms); /* the event may set an earlier time, and
                                                              the next step may be due at once */
}

/* Requests a change from accounts; takes ownership of ask and adds the domain. */
static void change(struct step *s, const char *verb, json_t *ask, int timeout_ms) {
    metric_add(&steps_done, 1);
    json_object_set_new(ask, "domain", json_string(s->domain));
    s->ticket = bus_request(s->rotator->verifier->worker->bus, verb, ask, timeout_ms, on_stepped, s);
}

static const char *name_of(struct step *s, const json_t *key) {
    return arena_printf(s->arena, "%s._domainkey.%s", json_string_value(json_object_get(key, "selector")), s->domain);
}

static void on_looked(void *ctx) {
    struct step *s = ctx;
    struct rotation_look looks[KEYS_PER_DOMAIN_MAX] = {0};
    json_t *seen = json_array(), *unseen = json_array(), *selectors = json_array(), *key;
    size_t i, n = 0;
    uint32_t ttl = 0;
    json_array_foreach(s->keys, i, key) {
        if (n == KEYS_PER_DOMAIN_MAX) break;
        const struct answer *a = lookup_answer(s->lookup, slice_of(name_of(s, key)), TYPE_TXT);
        struct rotation_look *l = &looks[n++];
        l->fits = a && rotation_record_fits(a, json_string_value(json_object_get(key, "algorithm")),
                                            json_string_value(json_object_get(key, "public_b64")));
        l->known = json_is_string(json_object_get(key, "seen"));
        l->ready_ms = rotation_time(json_string_value(json_object_get(key, "ready")));
        l->urgent = json_is_true(json_object_get(key, "urgent"));
        if (l->fits && a->ttl > ttl) ttl = a->ttl;
        bool unsure = a && a->status == ANSWER_FAILED; /* without an answer, a key that was seen
                                                          remains so */
        if (l->fits != l->known && !unsure)
            json_array_append(l->fits ? seen : unseen, json_object_get(key, "selector"));
        json_array_append(selectors, json_object_get(key, "selector"));
    }
    bool all = true;
    for (i = 0; i < n; i++) all = all && looks[i].fits;
    set_waiting(s->rotator, s->domain, !all);
    if (rotation_may_switch(n, looks, clock_wall_ms()))
        change(s, "accounts.key.activate", json_pack("{s:O}", "selectors", selectors), ROTATE_ASK_MS);
    else if (json_array_size(seen) || json_array_size(unseen))
        change(s, "accounts.key.seen",
               json_pack("{s:O,s:O,s:I}", "seen", seen, "unseen", unseen, "ttl", (json_int_t)ttl), ROTATE_ASK_MS);
    else
        step_end(s, s->at_ms);
    json_decref(seen);
    json_decref(unseen);
    json_decref(selectors);
}

static void look(struct step *s, const json_t *keys) {
    size_t i;
    json_t *key;
    s->keys = json_array();
    s->arena = arena_create();
    s->lookup = lookup_create(s->rotator->verifier->resolver, s->arena, KEYS_PER_DOMAIN_MAX, on_looked, s);
    json_array_foreach((json_t *)(uintptr_t)keys, i, key) {
        const char *state = json_string_value(json_object_get(key, "state"));
        if (!state || strcmp(state, "published") != 0) continue;
        json_array_append(s->keys, key);
        lookup_add(s->lookup, slice_of(name_of(s, key)), TYPE_TXT);
    }
    if (lookup_run(s->lookup)) on_looked(s);
}

static void on_keys(void *ctx, int error, const json_t *reply) {
    struct step *s = ctx;
    struct rotator *r = s->rotator;
    const json_t *keys = json_object_get(reply, "keys");
    int64_t now = clock_wall_ms();
    s->ticket = 0;
    if (error == BUS_REFUSED && strcmp(bus_error_code(reply), "not_found") == 0) {
        json_object_del(r->due, s->domain);
        set_waiting(r, s->domain, false);
        step_end(s, 0);
        return;
    }
    if (error) {
        step_end(s, now + ROTATE_ASK_MS);
        return;
    }
    struct rotation next = rotation_next(keys, &r->policy, now);
    s->at_ms = next.at_ms;
    if (next.step != ROTATION_LOOK) set_waiting(r, s->domain, false);
    switch (next.step) {
    case ROTATION_WAIT: step_end(s, next.at_ms); break;
    case ROTATION_MAKE: change(s, "accounts.key.rotate", json_object(), ROTATE_MAKE_MS); break;
    case ROTATION_REMOVE:
        change(s, "accounts.key.remove", json_pack("{s:o}", "selectors", next.selectors), ROTATE_ASK_MS);
        break;
    case ROTATION_LOOK: look(s, keys); break;
    }
}

static void next_steps(struct rotator *r) {
    while (r->mine && r->step_count < ROTATE_STEPS_MAX && json_array_size(r->round)) {
        size_t last = json_array_size(r->round) - 1;
        struct step *s = memory_alloc(sizeof *s);
        s->rotator = r;
        snprintf(s->domain, sizeof s->domain, "%s", json_string_value(json_array_get(r->round, last)));
        json_array_remove(r->round, last);
        s->next = r->steps;
        r->steps = s;
        r->step_count++;
        come_back(r, s->domain, clock_wall_ms() + ROTATE_MAKE_MS); /* to prevent a second request at once */
        s->ticket = bus_request(r->verifier->worker->bus, "accounts.key.list", json_pack("{s:s}", "domain", s->domain),
                                ROTATE_ASK_MS, on_keys, s);
    }
}

/* The list of domains */

static void on_domain(void *ctx, const char *domain) {
    struct rotator *r = ctx;
    json_object_set_new(r->listed, domain, json_integer(0)); /* a new domain is due at once */
}

static void on_domains(void *ctx, bool whole) {
    struct rotator *r = ctx;
    if (whole) {
        json_object_update_existing(r->listed, r->due); /* the others keep their times */
        json_decref(r->due);
        r->due = r->listed;
        r->list_at = clock_wall_ms() + ROTATE_LIST_EVERY_MS;
    } else {
        json_decref(r->listed);
    }
    r->listed = NULL;
}

static void list_domains(struct rotator *r) {
    r->listed = json_object();
    domain_list_read(&r->list, r->verifier->worker->bus, on_domain, on_domains, r);
}

/* The lease and the clock */

static void rotator_free(struct rotator *r) {
    json_decref(r->due);
    json_decref(r->waiting);
    json_decref(r->listed);
    json_decref(r->round);
    free(r);
}

static void turn(struct rotator *r) {
    int64_t now = clock_wall_ms();
    if (now >= r->list_at && !domain_list_is_read(&r->list)) list_domains(r);
    if (json_array_size(r->round)) return; /* the previous turn is still running */
    for (void *at = json_object_iter(r->due); at; at = json_object_iter_next(r->due, at))
        if (json_integer_value(json_object_iter_value(at)) <= now)
            json_array_append_new(r->round, json_string(json_object_iter_key(at)));
    next_steps(r);
}

static void on_lease(void *ctx, int error) {
    struct rotator *r = ctx;
    bool was = r->mine;
    r->asked = false;
    if (r->closing) {
        rotator_free(r);
        return;
    }
    r->mine = error == 0;
    if (r->mine != was)
        log_info(r->mine ? "this replica does the DKIM key roll-overs from now on"
                         : "another replica does the DKIM key roll-overs",
                 NULL);
    if (!r->mine) { /* the known state may be outdated when this worker gets the lease again */
        json_object_clear(r->due);
        json_object_clear(r->waiting);
        metric_set(&waiting, 0);
        json_array_clear(r->round);
        r->list_at = 0;
        return;
    }
    turn(r);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct rotator *r = ctx;
    (void)fd, (void)what;
    event_add(r->clock, &r->pause);
    if (r->asked) return; /* the previous request has no answer yet */
    r->asked = true;
    lease_acquire(r->verifier->worker->redis, SLICE(LEASE_DKIM), r->me, r->lease_ms, on_lease, r);
}

static void on_account_changed(void *ctx, struct slice about, const json_t *data) {
    struct rotator *r = ctx;
    char domain[256];
    struct slice what = member_slice(data, "what"), name = member_slice(data, "domain");
    (void)about;
    if (r->closing || !r->mine || (!slice_is(what, "domain") && !slice_is(what, "key")) || name.n == 0 ||
        name.n >= sizeof domain)
        return;
    snprintf(domain, sizeof domain, "%.*s", SLICE_FMT(name));
    if (slice_is(what, "domain") && slice_is(member_slice(data, "change"), "deleted"))
        json_object_del(r->due, domain);
    else
        come_back(r, domain, clock_wall_ms() + r->publish_ms);
}

/* Everything is looked at again, as after a change of the lease. */
static void on_missed(void *ctx) {
    struct rotator *r = ctx;
    json_object_clear(r->due);
    r->list_at = 0;
}

struct rotator *rotator_create(struct verifier *v) {
    struct rotator *r = memory_alloc(sizeof *r);
    struct timeval soon = {1, 0};
    r->verifier = v;
    r->policy.rotate_ms = config_seconds("POSTBUS_DKIM_ROTATE", "180d", 0, 3650LL * 86400) * 1000;
    r->policy.retired_ms = config_seconds("POSTBUS_DKIM_RETIRED", "7d", 1, 3650LL * 86400) * 1000;
    r->pause.tv_sec = config_seconds("POSTBUS_DKIM_CLOCK", "10s", 1, 3600);
    r->publish_ms = r->pause.tv_sec * 500;
    r->lease_ms = 3000LL * r->pause.tv_sec;
    ulid_create(r->me);
    r->due = json_object();
    r->waiting = json_object();
    r->round = json_array();
    r->clock = event_new(v->worker->base, -1, 0, on_clock, r);
    if (!r->clock) memory_exhausted();
    event_add(r->clock, &soon);
    bus_follow(v->worker->bus, "account.changed.>", on_account_changed, on_missed, r);
    return r;
}

void rotator_destroy(struct rotator *r) {
    if (!r) return;
    r->closing = true;
    r->mine = false;
    domain_list_stop(&r->list);
    event_free(r->clock);
    while (r->steps) {
        struct step *s = r->steps;
        r->steps = s->next;
        if (s->ticket) bus_cancel(r->verifier->worker->bus, s->ticket);
        step_free(s);
    }
    if (!r->asked) rotator_free(r); /* otherwise the answer's callback does this */
}
