#include "services/delivery/destination/connector.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"
#include "services/delivery/destination/race.h"
#include "services/delivery/destination/tls_fact.h"

struct connector {
    struct connector_settings set;
    struct life life;
    char id[ULID_BYTES], *domain;
    struct arena *arena;
    struct targets targets;
    struct race race;
    struct session *session;
    struct target *target;   /* the session's */
    struct tls_demand plain; /* for the second attempt, in plain text */
    bool without_tls, done, failed_for_now;
    struct outcome outcome;
    char enhanced[16], reason[600], host[300];
};

static void finish(struct connector *c) {
    c->done = true;
    life_wake(c->set.owner);
}

static void conclude(struct connector *c, enum outcome_kind kind, int code, const char *enhanced, const char *reason,
                     const char *host) {
    if (enhanced != c->enhanced) snprintf(c->enhanced, sizeof c->enhanced, "%s", enhanced);
    if (reason != c->reason) snprintf(c->reason, sizeof c->reason, "%s", reason);
    if (host != c->host) snprintf(c->host, sizeof c->host, "%s", host);
    c->outcome =
        (struct outcome){.kind = kind, .code = code, .enhanced = c->enhanced, .reason = c->reason, .host = c->host};
    finish(c);
}

/* No server is left. A permanent refusal is final only if no other server failed temporarily,
 * because that one may accept the mail later. With REQUIRETLS there is no further attempt if no
 * server supports it (RFC 8689 §4.2.1). */
static void conclude_failure(struct connector *c) {
    bool final = c->outcome.code / 100 == 5 && !c->failed_for_now;
    if (c->set.wish.required && !c->failed_for_now)
        conclude(c, OUTCOME_BOUNCED, final ? c->outcome.code : 550, c->enhanced[0] == '5' ? c->enhanced : "5.7.10",
                 c->reason, c->host);
    else
        conclude(c, final ? OUTCOME_BOUNCED : OUTCOME_DEFERRED, c->outcome.code, c->enhanced, c->reason, c->host);
}

/* The next host that has addresses left. */
static void next_race(struct connector *c) {
    struct target *group[DESTINATION_HOST_ADDRESSES];
    size_t n = 0;
    const json_t *host = NULL;
    for (size_t i = 0; i < c->targets.count && n < DESTINATION_HOST_ADDRESSES; i++) {
        struct target *t = &c->targets.each[i];
        if (t->tried || (host && t->host != host)) continue;
        host = t->host;
        group[n++] = t;
    }
    c->without_tls = false;
    if (n)
        race_start(&c->race, c->set.delivery->worker->base, &c->life, n, group);
    else
        conclude_failure(c);
}

static void open_session(struct connector *c, struct stream *stream, struct target *t) {
    const struct delivery *d = c->set.delivery;
    const struct tls_demand *demand = t->demand;
    if (c->without_tls) {
        c->plain = *t->demand;
        c->plain.level = TLS_NEVER;
        demand = &c->plain;
    }
    c->target = t;
    c->session = session_create(&(struct session_settings){.base = d->worker->base,
                                                           .tls_context = d->tls,
                                                           .hello = d->hello,
                                                           .host = t->name,
                                                           .ip = t->ip,
                                                           .port = d->smtp_port,
                                                           .tls = demand,
                                                           .require_tls = c->set.wish.required,
                                                           .bodies = d->bodies,
                                                           .owner = &c->life},
                                stream);
}

static void note_failure(struct connector *c, int code, const char *enhanced, const char *reason, const char *host) {
    c->outcome.code = code;
    snprintf(c->enhanced, sizeof c->enhanced, "%s", enhanced);
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    snprintf(c->host, sizeof c->host, "%s", host);
}

static void on_race_over(struct connector *c) {
    struct target *t, *first = c->race.racers[0].target;
    struct stream *stream = race_winner(&c->race, &t);
    if (stream) {
        open_session(c, stream, t);
        return;
    }
    log_info("a server cannot be reached", "id", c->id, "host", first->name, "reason", c->race.why, NULL);
    note_failure(c, 0, "4.4.1", c->race.why, first->name);
    c->failed_for_now = true;
    next_race(c);
}

static void on_session_failed(struct connector *c) {
    struct target *t = c->target;
    const struct smtp_result *r = session_result(c->session);
    note_failure(c, r->code, r->enhanced, r->reason, t->name);
    bool again = r->end == SMTP_END_TLS_FAILED && t->demand->level == TLS_MAY && !c->without_tls;
    if (again) { /* RFC 7435: plain text is better than no delivery */
        log_info("TLS failed; trying without it", "id", c->id, "host", t->name, "reason", c->reason, NULL);
    } else if (r->end == SMTP_END_TLS_FAILED) {
        log_warn("TLS failed where it is asked for", "id", c->id, "host", t->name, "reason", c->reason, NULL);
    } else {
        log_info("a server cannot be used now", "id", c->id, "host", t->name, "ip", t->ip, "reason", c->reason, NULL);
        c->failed_for_now = c->failed_for_now || (r->end == SMTP_END_NOT_NOW && r->code / 100 != 5);
    }
    if (r->end == SMTP_END_TLS_FAILED && !again && !c->set.wish.required) c->failed_for_now = true;
    session_destroy(c->session);
    c->session = NULL;
    if (again) {
        c->without_tls = true;
        race_start(&c->race, c->set.delivery->worker->base, &c->life, 1, &t);
    } else {
        next_race(c);
    }
}

static void tell_session(struct connector *c) {
    struct tls_demand demand = *c->target->demand;
    if (c->without_tls) demand.level = TLS_NEVER;
    tls_fact_tell_session(c->set.delivery, c->id, c->set.route, c->target->host, c->domain, c->target->ip, &demand,
                          session_result(c->session));
}

static void run(void *ctx) {
    struct connector *c = ctx;
    if (c->done) return;
    if (c->session) {
        enum session_state state = session_state(c->session);
        if (state == SESSION_OPENING) return;
        tell_session(c);
        if (state == SESSION_CLOSED)
            on_session_failed(c);
        else
            finish(c);
    } else if (c->race.next && race_is_over(&c->race)) {
        on_race_over(c);
    }
}

/* Whether any server may be tried at all. */
static void begin(struct connector *c) {
    const struct targets *t = &c->targets;
    const char *refusal = NULL;
    for (size_t i = 0; i < t->refused_count; i++) {
        const struct target_refusal *r = &t->refused[i];
        refusal = r->demand->refusal;
        log_warn("a host of the domain may not be used", "id", c->id, "host",
                 json_string_value(json_object_get(r->host, "name")), "reason", refusal, NULL);
        if (r->demand->refusal_result)
            tls_fact_tell_refusal(c->set.delivery, c->id, c->set.route, r->host, c->domain, r->demand->policy,
                                  r->demand->refusal_result, refusal);
    }
    if (t->leads_home)
        conclude(c, OUTCOME_BOUNCED, 554, "5.4.6",
                 "the domain's mail server is this one, which does not host the domain: mail would loop", "");
    else if (t->private_only)
        conclude(c, OUTCOME_BOUNCED, 550, "5.4.4", "the domain's mail servers have no public address", "");
    else if (t->count)
        next_race(c);
    else if (refusal && c->set.wish.required)
        conclude(c, OUTCOME_BOUNCED, 550, "5.7.10", refusal, ""); /* RFC 8689 §4.2.1 */
    else
        conclude(c, OUTCOME_DEFERRED, 451, refusal ? "4.7.5" : "4.4.4",
                 refusal ? refusal : "none of the domain's mail servers has an address that may be used", "");
}

static void connector_free(void *ctx) {
    struct connector *c = ctx;
    json_decref(c->set.route);
    arena_destroy(c->arena);
    free(c->domain);
    free(c);
}

struct connector *connector_create(const struct connector_settings *settings) {
    struct connector *c = memory_alloc(sizeof *c);
    c->set = *settings;
    json_incref(c->set.route);
    c->domain = memory_copy(slice_of(settings->domain));
    snprintf(c->id, sizeof c->id, "%s", settings->id);
    c->arena = arena_create();
    life_start(&c->life, settings->delivery->worker->base, run, connector_free, c);
    targets_take(settings->delivery, c->arena, c->set.route, &c->set.wish, &c->targets);
    begin(c);
    return c;
}

void connector_destroy(struct connector *c) {
    race_stop(&c->race);
    session_destroy(c->session);
    life_end(&c->life);
}

bool connector_is_done(const struct connector *c) { return c->done; }

struct session *connector_take(struct connector *c, struct outcome *outcome) {
    struct session *s = c->session;
    *outcome = c->outcome;
    c->session = NULL;
    if (s) session_set_owner(s, c->set.owner);
    return s;
}
