#include "services/verifier/dns/resolver.h"

#include <libpsl.h>
#include <sodium.h>
#include <stdlib.h>
#include <unbound-event.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/metrics.h"
#include "services/verifier/dns/answer_cache.h"
#include "services/verifier/dns/unbound.h"

static struct metric questions_asked =
    METRIC_COUNTER("postbus_verifier_dns_questions_total", "Questions sent by the resolver");
static struct metric questions_known =
    METRIC_COUNTER("postbus_verifier_dns_cached_total", "Questions answered from the cache of parsed answers");
static struct metric questions_failed = METRIC_COUNTER(
    "postbus_verifier_dns_failed_total", "Questions without a usable answer: SERVFAIL, no answer, malformed");
static struct metric questions_bogus =
    METRIC_COUNTER("postbus_verifier_dns_bogus_total", "Answers that failed DNSSEC validation");

enum { BUCKETS = 1024, DOMAIN_BUCKETS = 4096, CLASS_IN = 1, NAME_TEXT_MAX = 253 };

struct waiter {
    struct waiter *next;
    resolver_fn *done;
    void *ctx;
};

/* A name and type that is being resolved. It exists until libunbound has answered, also when its
 * time limit expires before. */
struct question {
    struct resolver *resolver;
    struct question *chain;
    struct question *finished_next;
    struct waiter *waiters, **last;
    struct event *timer;
    struct arena *arena;
    struct answer answer; /* once answered */
    bool answered;        /* the loop will call the waiters */
    int type;
    uint64_t hash;
    uint32_t *domain_load;        /* the number of questions in flight about its registered domain,
                                     including this one */
    char name[NAME_TEXT_MAX + 1]; /* lower case, without final dot */
};

struct resolver {
    struct event_base *base;
    struct ub_ctx *ub;
    struct answer_cache *cache;
    struct question *buckets[BUCKETS];
    size_t in_flight;
    uint32_t domain_load[DOMAIN_BUCKETS];       /* by a hash of the registered domain: domains with
                                                   the same hash share the bound */
    struct question *finished, **finished_last; /* answered; their waiters have not been called
                                                   yet */
    struct event *tell;
    const struct timeval *timeout;
    bool closing;
    unsigned char hash_key[crypto_shorthash_KEYBYTES];
};

/* A keyed hash, so that a sender cannot choose names that share a bucket with another domain. */
static uint64_t hash_of(const struct resolver *r, const char *name, int type) {
    uint64_t h;
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)name, strlen(name), r->hash_key);
    return h ^ (uint64_t)type * 1099511628211u;
}

/* name in lower case without final dot; false when it cannot be a domain name (RFC 1035 §2.3.4):
 * empty or too long labels, or too long as a whole. */
static bool fold_name(struct slice name, char out[NAME_TEXT_MAX + 1]) {
    if (name.n && name.p[name.n - 1] == '.') name.n--;
    if (name.n == 0 || name.n > NAME_TEXT_MAX) return false;
    size_t label = 0;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (c == '.') {
            if (label == 0) return false;
            label = 0;
        } else if ((unsigned char)c <= 0x20 || (unsigned char)c >= 0x7f || c == '\\' || ++label > 63) {
            return false;
        }
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out[name.n] = '\0';
    return label > 0;
}

/* The counter for a name is that of its registered domain. Each reverse name has its own, because a
 * client cannot choose many of them. */
static uint32_t *domain_load_of(struct resolver *r, const char *name) {
    size_t n = strlen(name);
    bool reverse = n > 5 && strcmp(name + n - 5, ".arpa") == 0;
    const char *domain = reverse ? NULL : psl_registrable_domain(psl_builtin(), name);
    return &r->domain_load[hash_of(r, domain ? domain : name, 0) % DOMAIN_BUCKETS];
}

static void question_destroy(struct question *q) {
    struct question **place = &q->resolver->buckets[q->hash % BUCKETS];
    while (*place && *place != q) place = &(*place)->chain;
    if (*place) *place = q->chain;
    q->resolver->in_flight--;
    --*q->domain_load;
    event_free(q->timer);
    arena_destroy(q->arena);
    free(q);
}

/* Calls all waiters. They may ask again during this, and are then new waiters of a question that is
 * still in flight. */
static void tell_waiters(struct question *q, const struct answer *answer) {
    struct waiter *w = q->waiters;
    q->waiters = NULL;
    q->last = &q->waiters;
    while (w) {
        struct waiter *next = w->next;
        w->done(w->ctx, answer);
        free(w);
        w = next;
    }
}

static void tell_finished(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct resolver *r = ctx;
    struct question *q = r->finished;
    r->finished = NULL;
    r->finished_last = &r->finished;
    while (q) {
        struct question *next = q->finished_next;
        event_del(q->timer);
        tell_waiters(q, &q->answer);
        if (q->waiters) { /* asked again by a waiter: it gets the same answer */
            q->finished_next = NULL;
            *r->finished_last = q;
            r->finished_last = &q->finished_next;
            event_active(r->tell, EV_TIMEOUT, 0);
        } else {
            question_destroy(q);
        }
        q = next;
    }
}

static void finish(struct question *q) {
    struct resolver *r = q->resolver;
    q->answered = true;
    q->finished_next = NULL;
    *r->finished_last = q;
    r->finished_last = &q->finished_next;
    event_active(r->tell, EV_TIMEOUT, 0);
}

static void fail(struct question *q, const char *reason) {
    q->answer = (struct answer){.status = ANSWER_FAILED, .reason = arena_slice(q->arena, slice_of(reason))};
}

/* The answer of libunbound, possibly inside ub_resolve_event. */
static void on_answer(void *ctx, int rcode, void *packet, int n, int security, char *why_bogus, int rate_limited) {
    (void)rate_limited;
    struct question *q = ctx;
    struct resolver *r = q->resolver;
    if (security == 1) {
        fail(q, why_bogus && *why_bogus ? why_bogus : "DNSSEC validation failed");
        q->answer.security = ANSWER_BOGUS;
        metric_add(&questions_bogus, 1);
    } else if (rcode != 0 && rcode != 3) {
        fail(q, rcode == 2 ? "SERVFAIL" : rcode == 5 ? "REFUSED" : "DNS error");
    } else if (!packet || n < 0) {
        fail(q, "no DNS answer");
    } else if (answer_parse(q->arena, slice_make(packet, (size_t)n), slice_of(q->name), q->type, &q->answer) == 0) {
        q->answer.security = security == 2 ? ANSWER_SECURE : ANSWER_INSECURE;
    }
    uint32_t ttl = q->answer.ttl < RESOLVER_TTL_MAX ? q->answer.ttl : RESOLVER_TTL_MAX;
    if (q->answer.status == ANSWER_FAILED) {
        metric_add(&questions_failed, 1);
        ttl = RESOLVER_FAILED_TTL;
    }
    if (!r->closing) answer_cache_put(r->cache, slice_of(q->name), q->type, &q->answer, ttl, clock_monotonic_us());
    finish(q);
}

/* The time limit of a question has expired: its waiters get a failure. libunbound may continue, and
 * its late answer goes to the cache. */
static void on_timeout(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct question *q = ctx;
    if (q->answered) return;
    struct answer late = {.status = ANSWER_FAILED, .reason = SLICE("no DNS answer in time")};
    metric_add(&questions_failed, 1);
    answer_cache_put(q->resolver->cache, slice_of(q->name), q->type, &late, RESOLVER_FAILED_TTL, clock_monotonic_us());
    tell_waiters(q, &late);
}

struct resolver *resolver_create(struct event_base *base, const struct resolver_settings *settings) {
    struct timeval timeout = {RESOLVER_TIMEOUT_MS / 1000, (RESOLVER_TIMEOUT_MS % 1000) * 1000};
    struct ub_ctx *ub = unbound_create(base, settings);
    if (!ub) return NULL;
    struct resolver *r = memory_alloc(sizeof *r);
    randombytes_buf(r->hash_key, sizeof r->hash_key);
    r->base = base;
    r->ub = ub;
    r->cache = answer_cache_create(RESOLVER_CACHE_ENTRIES_MAX);
    r->finished_last = &r->finished;
    r->timeout = event_base_init_common_timeout(base, &timeout);
    r->tell = event_new(base, -1, 0, tell_finished, r);
    if (!r->tell || !r->timeout) memory_exhausted();
    return r;
}

void resolver_destroy(struct resolver *r) {
    if (!r) return;
    r->closing = true;
    static const struct answer closing = {.status = ANSWER_FAILED, .reason = {"the resolver ends", 17}};
    bool waiting = true;
    while (waiting) { /* a waiter that gets a failure may ask for the next name */
        waiting = false;
        for (size_t i = 0; i < BUCKETS; i++) {
            for (struct question *q = r->buckets[i]; q; q = q->chain) {
                if (q->waiters) {
                    waiting = true;
                    tell_waiters(q, &closing);
                    break;
                }
            }
        }
    }
    ub_ctx_delete(r->ub);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (r->buckets[i]) question_destroy(r->buckets[i]);
    }
    event_free(r->tell);
    answer_cache_destroy(r->cache);
    free(r);
}

const struct answer *resolver_known(struct resolver *r, struct slice name, int type) {
    char folded[NAME_TEXT_MAX + 1];
    if (!fold_name(name, folded)) return NULL;
    const struct answer *known = answer_cache_get(r->cache, slice_of(folded), type, clock_monotonic_us());
    if (known) metric_add(&questions_known, 1);
    return known;
}

static struct question *find_question(struct resolver *r, const char *name, int type, uint64_t hash) {
    struct question *q = r->buckets[hash % BUCKETS];
    while (q && !(q->hash == hash && q->type == type && strcmp(q->name, name) == 0)) q = q->chain;
    return q;
}

static struct question *question_create(struct resolver *r, const char *name, int type) {
    struct question *q = memory_alloc(sizeof *q);
    q->resolver = r;
    q->arena = arena_create();
    q->last = &q->waiters;
    q->type = type;
    q->hash = hash_of(r, name, type);
    memcpy(q->name, name, strlen(name) + 1);
    q->domain_load = domain_load_of(r, name);
    ++*q->domain_load;
    q->timer = event_new(r->base, -1, 0, on_timeout, q);
    if (!q->timer) memory_exhausted();
    q->chain = r->buckets[q->hash % BUCKETS];
    r->buckets[q->hash % BUCKETS] = q;
    r->in_flight++;
    return q;
}

static void start(struct question *q, bool is_name) {
    struct resolver *r = q->resolver;
    const struct answer *known = answer_cache_get(r->cache, slice_of(q->name), q->type, clock_monotonic_us());
    if (known) {
        q->answer = *answer_copy(q->arena, known);
        finish(q);
    } else if (!is_name) {
        q->answer = (struct answer){.status = ANSWER_NXDOMAIN, .canonical = slice_of(q->name)};
        finish(q);
    } else if (r->closing || r->in_flight > RESOLVER_IN_FLIGHT_MAX) {
        fail(q, "too many DNS questions in flight");
        q->answer.unasked = true;
        finish(q);
    } else if (*q->domain_load > RESOLVER_DOMAIN_MAX) {
        fail(q, "too many DNS questions about this domain in flight");
        q->answer.unasked = true;
        finish(q);
    } else {
        metric_add(&questions_asked, 1);
        if (ub_resolve_event(r->ub, q->name, q->type, CLASS_IN, q, on_answer, NULL)) {
            fail(q, "the resolver refuses the question");
            finish(q);
        }
    }
}

void resolver_ask(struct resolver *r, struct slice name, int type, resolver_fn *done, void *ctx) {
    char folded[NAME_TEXT_MAX + 1];
    bool is_name = fold_name(name, folded);
    if (!is_name) folded[0] = '\0';
    struct question *q = find_question(r, folded, type, hash_of(r, folded, type));
    bool is_new = !q;
    if (is_new) q = question_create(r, folded, type);
    struct waiter *w = memory_alloc(sizeof *w);
    w->done = done, w->ctx = ctx;
    bool first = !q->waiters;
    *q->last = w;
    q->last = &w->next;
    if (first) event_add(q->timer, r->timeout);
    if (is_new) start(q, is_name);
}
