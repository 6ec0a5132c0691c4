#include "services/verifier/sts.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/trust/mta_sts.h"
#include "services/verifier/domain.h"
#include "services/verifier/lookup.h"

static struct metric fetches = METRIC_COUNTER("postbus_verifier_mta_sts_fetches_total", "MTA-STS policies asked for by HTTPS");
static struct metric fetch_failures = METRIC_COUNTER("postbus_verifier_mta_sts_failures_total", "MTA-STS policies that could not be had or made no sense");

enum { RETRY_MS = 300000, /* RFC 8461 §3.3: a failed fetch is not tried again for five minutes */ ADDRESSES_MAX = 8, HTTPS_PORT = 443 };

struct waiter {
    struct waiter *next;
    sts_fn *done;
    void *ctx;
};

/* What Redis keeps of a domain under v:sts:<domain>:
 *   {"id","policy":{"mode","mx":[]},"until":<ms>,"failed_id","retry":<ms>}, each member only when there is one. */
struct find {
    struct sts_cache *cache;
    struct find *next;
    struct waiter *waiters;
    struct arena *arena;
    struct lookup *lookup;
    char domain[DOMAIN_MAX];
    struct slice txt_name, host;
    struct slice id; /* of the TXT record; empty: there is none */
    json_t *kept;    /* an object, maybe empty */
    bool dns_known, redis_known, addresses_asked;
    bool abandoned; /* the worker ends; only Redis' answer is waited for */
};

struct sts_cache {
    struct verifier *verifier;
    struct find *finds;
    int https_port;
};

static void tell_waiters(struct find *f, json_t *policy) {
    struct waiter *w = f->waiters;
    f->waiters = NULL;
    while (w) {
        struct waiter *next = w->next;
        w->done(w->ctx, policy ? json_incref(policy) : NULL);
        free(w);
        w = next;
    }
}

static void find_finish(struct find *f, json_t *policy) {
    if (!f->abandoned) {
        struct find **place = &f->cache->finds;
        while (*place != f) place = &(*place)->next;
        *place = f->next;
    }
    tell_waiters(f, policy);
    lookup_destroy(f->lookup);
    json_decref(f->kept);
    arena_destroy(f->arena);
    free(f);
}

/* The policy fetched before, while its max_age lasts: it holds whatever DNS says now (RFC 8461 §5.1). */
static json_t *kept_policy(const struct find *f) {
    if (json_integer_value(json_object_get(f->kept, "until")) <= clock_wall_ms()) return NULL;
    return json_object_get(f->kept, "policy");
}

static void keep(struct find *f) {
    char *text = json_dumps(f->kept, JSON_COMPACT);
    if (!text) return;
    int64_t now = clock_wall_ms(), until = json_integer_value(json_object_get(f->kept, "until")), retry = json_integer_value(json_object_get(f->kept, "retry"));
    int64_t last = until > retry ? until : retry;
    if (last > now) {
        char *key = arena_printf(f->arena, "v:sts:%s", f->domain), *ms = arena_printf(f->arena, "%lld", (long long)(last - now));
        struct slice argv[] = {SLICE("SET"), slice_of(key), slice_of(text), SLICE("PX"), slice_of(ms)};
        redis_command(f->cache->verifier->worker->redis, NULL, NULL, sizeof argv / sizeof *argv, argv);
    }
    free(text);
}

static void fetch_failed(struct find *f, const char *reason) {
    metric_add(&fetch_failures, 1);
    log_info("an MTA-STS policy cannot be had", "domain", f->domain, "reason", reason, NULL);
    json_object_set_new(f->kept, "failed_id", json_stringn(f->id.p, f->id.n));
    json_object_set_new(f->kept, "retry", json_integer(clock_wall_ms() + RETRY_MS));
    keep(f);
    find_finish(f, kept_policy(f));
}

static const char *mode_text(enum mta_sts_mode mode) { return mode == MTA_STS_ENFORCE ? "enforce" : mode == MTA_STS_TESTING ? "testing" : "none"; }

static void on_fetched(void *ctx, int status, struct slice body, const char *content_type, const char *reason) {
    struct find *f = ctx;
    struct mta_sts_policy policy;
    if (status != 200) {
        fetch_failed(f, status ? arena_printf(f->arena, "HTTP status %d", status) : arena_printf(f->arena, "%s", reason));
        return;
    }
    if (!slice_starts_nocase(slice_of(content_type), SLICE("text/plain"))) {
        fetch_failed(f, "the policy is not text/plain");
        return;
    }
    if (mta_sts_policy_parse(f->arena, body, &policy)) {
        fetch_failed(f, "the policy is malformed");
        return;
    }
    json_t *mx = json_array();
    for (size_t i = 0; i < policy.mx_count; i++) json_array_append_new(mx, json_stringn(policy.mx[i].p, policy.mx[i].n));
    json_t *kept = json_pack("{s:s%,s:{s:s,s:o},s:I}", "id", f->id.p, f->id.n, "policy", "mode", mode_text(policy.mode), "mx", mx, "until",
                             (json_int_t)clock_wall_ms() + (json_int_t)policy.max_age * 1000);
    if (!kept) {
        fetch_failed(f, "the policy is not text");
        return;
    }
    json_decref(f->kept);
    f->kept = kept;
    keep(f);
    find_finish(f, kept_policy(f));
}

static void fetch(struct find *f) {
    struct buf addresses = {0};
    char text[64];
    size_t count = 0;
    for (int family = 0; family < 2; family++) {
        const struct answer *a = lookup_answer(f->lookup, f->host, family ? TYPE_AAAA : TYPE_A);
        for (size_t i = 0; a->status == ANSWER_OK && i < a->count && count < ADDRESSES_MAX; i++, count++)
            buf_printf(&addresses, a->records[i].data.n == 16 ? "%s[%s]" : "%s%s", count ? "," : "", domain_address_text(a->records[i].data, text));
    }
    if (count) {
        metric_add(&fetches, 1);
        http_get(f->cache->verifier->http, arena_copy(f->arena, f->host), f->cache->https_port, buf_str(&addresses), "/.well-known/mta-sts.txt", on_fetched, f);
    } else {
        fetch_failed(f, "its host has no address");
    }
    buf_free(&addresses);
}

/* RFC 8461 §3.1: of the TXT records those that begin with the version; unless there is exactly one, there is no policy. */
static struct slice find_id(const struct find *f) {
    const struct answer *txt = lookup_answer(f->lookup, f->txt_name, TYPE_TXT);
    struct slice id = SLICE(""), one;
    size_t count = 0;
    for (size_t i = 0; txt->status == ANSWER_OK && i < txt->count; i++) {
        if (mta_sts_record_parse(txt->records[i].data, &one) == 0) id = one, count++;
    }
    return count == 1 ? id : SLICE("");
}

static void proceed(struct find *f) {
    if (!f->dns_known || !f->redis_known) return;
    if (f->addresses_asked) {
        fetch(f);
        return;
    }
    f->id = find_id(f);
    json_t *kept = kept_policy(f);
    bool failed_before =
        f->id.n && slice_equal(ask_text(f->kept, "failed_id"), f->id) && json_integer_value(json_object_get(f->kept, "retry")) > clock_wall_ms();
    if (f->id.n == 0 || failed_before || (kept && slice_equal(ask_text(f->kept, "id"), f->id))) {
        find_finish(f, kept);
        return;
    }
    f->addresses_asked = true;
    f->host = slice_of(arena_printf(f->arena, "mta-sts.%s", f->domain));
    lookup_add(f->lookup, f->host, TYPE_A);
    lookup_add(f->lookup, f->host, TYPE_AAAA);
    if (lookup_run(f->lookup)) fetch(f);
}

static void on_dns(void *ctx) {
    struct find *f = ctx;
    f->dns_known = true;
    proceed(f);
}

static void on_redis(void *ctx, const redisReply *reply) {
    struct find *f = ctx;
    struct slice text = reply && reply->type == REDIS_REPLY_STRING ? redis_reply_slice(reply) : SLICE("");
    json_t *kept = text.n ? json_loadb(text.p, text.n, 0, NULL) : NULL;
    if (json_is_object(kept)) {
        json_decref(f->kept);
        f->kept = kept;
    } else {
        json_decref(kept);
    }
    f->redis_known = true;
    if (f->abandoned)
        find_finish(f, NULL);
    else
        proceed(f);
}

void sts_find(struct sts_cache *c, struct slice domain, sts_fn *done, void *ctx) {
    struct waiter *w = memory_alloc(sizeof *w);
    w->done = done, w->ctx = ctx;
    struct find *f = c->finds;
    while (f && !slice_equal(slice_of(f->domain), domain)) f = f->next;
    if (f) {
        w->next = f->waiters;
        f->waiters = w;
        return;
    }
    f = memory_alloc(sizeof *f);
    f->cache = c;
    f->waiters = w;
    f->next = c->finds;
    c->finds = f;
    f->arena = arena_create();
    f->kept = json_object();
    snprintf(f->domain, sizeof f->domain, "%.*s", SLICE_FMT(domain));
    f->lookup = lookup_create(c->verifier->resolver, f->arena, 3, on_dns, f);
    f->txt_name = slice_of(arena_printf(f->arena, "_mta-sts.%s", f->domain));
    lookup_add(f->lookup, f->txt_name, TYPE_TXT);
    f->dns_known = lookup_run(f->lookup); /* Redis' answer comes later than this, so proceed() is not needed here */
    char *key = arena_printf(f->arena, "v:sts:%s", f->domain);
    struct slice argv[] = {SLICE("GET"), slice_of(key)};
    redis_command(c->verifier->worker->redis, on_redis, f, 2, argv);
}

struct sts_cache *sts_cache_create(struct verifier *v) {
    struct sts_cache *c = memory_alloc(sizeof *c);
    c->verifier = v;
    c->https_port = HTTPS_PORT;
    return c;
}

void sts_cache_destroy(struct sts_cache *c) {
    if (!c) return;
    while (c->finds) {
        struct find *f = c->finds;
        if (f->redis_known) { // NOLINT(clang-analyzer-unix.Malloc): each takes itself off the list
            find_finish(f, NULL);
            continue;
        }
        c->finds = f->next;
        f->abandoned = true;
        tell_waiters(f, NULL);
    }
    free(c);
}
