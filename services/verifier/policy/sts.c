#include "services/verifier/policy/sts.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "libcommon/store/domain_note.h"
#include "libcommon/trust/transport/mta_sts.h"
#include "services/verifier/dns/address.h"
#include "services/verifier/dns/lookup.h"
#include "services/verifier/policy/sts_memory.h"

static struct metric fetches =
    METRIC_COUNTER("postbus_verifier_mta_sts_fetches_total", "MTA-STS policies requested by HTTPS");
static struct metric fetch_failures = METRIC_COUNTER("postbus_verifier_mta_sts_failures_total",
                                                     "MTA-STS policies that could not be fetched or were malformed");

/* A bound that is reached here is not a failure of the domain, and no reason to ignore its
 * policy. */
static const char NO_ROOM[] = "the domain's MTA-STS policy cannot be fetched now: too many fetches are running";

enum {
    RETRY_MS = 300000,     /* RFC 8461 §3.3: a failed fetch is not tried again for five minutes */
    REFRESH_MS = 86400000, /* RFC 8461 §10.2: a policy is fetched again before it expires, so that
                              blocking the fetch for a while does not disable it */
    ADDRESSES_MAX = 8,
    HTTPS_PORT = 443
};

struct waiter {
    struct waiter *next;
    sts_fn *done;
    void *ctx;
};

/* The content of v:sts:<domain> in Redis:
 *   {"id","policy":{"mode","mx":[],"max_age"},"fetched":<ms>,"until":<ms>,"failed_id","failure":{"result","reason"},"retry":<ms>},
 * each member only when there is one. */
struct find {
    struct sts_cache *cache;
    struct find *next;
    struct waiter *waiters;
    struct arena *arena;
    struct lookup *lookup;
    char domain[DOMAIN_BYTES];
    struct slice txt_name, host;
    struct slice id; /* id of the TXT record; empty: there is none */
    bool bogus;      /* the TXT record is bogus */
    const char *unknown;
    json_t *kept; /* an object, possibly empty */
    struct event *soon;
    bool dns_known, note_asked, note_known, addresses_asked;
    bool abandoned; /* the worker ends; only the answer of Redis is pending */
};

struct sts_cache {
    struct verifier *verifier;
    struct find *finds;
    struct sts_memory *memory;
};

static void tell_waiters(struct find *f, const struct sts_finding *found) {
    struct waiter *w = f->waiters;
    f->waiters = NULL;
    while (w) {
        struct waiter *next = w->next;
        w->done(w->ctx, found);
        free(w);
        w = next;
    }
}

static void find_destroy(struct find *f, const struct sts_finding *found) {
    if (!f->abandoned) {
        struct find **place = &f->cache->finds;
        while (*place != f) place = &(*place)->next;
        *place = f->next;
    }
    tell_waiters(f, found);
    lookup_destroy(f->lookup);
    event_free(f->soon);
    json_decref(f->kept);
    arena_destroy(f->arena);
    free(f);
}

/* The policy that was fetched before, during its max_age: it applies independently of DNS (RFC 8461
 * §5.1). */
static json_t *kept_policy(const struct find *f) {
    if (json_integer_value(json_object_get(f->kept, "until")) <= clock_wall_ms()) return NULL;
    return json_object_get(f->kept, "policy");
}

/* Whether a recent fetch of the announced policy failed. */
static bool failed_lately(const struct find *f) {
    return f->id.n && slice_equal(member_slice(f->kept, "failed_id"), f->id) &&
           json_integer_value(json_object_get(f->kept, "retry")) > clock_wall_ms();
}

static void find_finish(struct find *f) {
    struct sts_finding found = {.policy = kept_policy(f)};
    if (failed_lately(f)) {
        const json_t *failure = json_object_get(f->kept, "failure");
        found.result = json_string_value(json_object_get(failure, "result"));
        found.reason = json_string_value(json_object_get(failure, "reason"));
    }
    if (!found.policy && f->unknown) {
        found.unknown = f->unknown;
        found.bogus = f->bogus;
    }
    if (found.result && !found.reason) found.reason = "";
    find_destroy(f, &found);
}

static void keep(struct find *f) {
    sts_memory_put(f->cache->memory, slice_of(f->domain), f->kept, clock_wall_ms());
    char *text = json_dumps(f->kept, JSON_COMPACT);
    if (!text) return;
    int64_t now = clock_wall_ms(), until = json_integer_value(json_object_get(f->kept, "until")),
            retry = json_integer_value(json_object_get(f->kept, "retry"));
    int64_t last = until > retry ? until : retry;
    if (last > now) {
        /* if this fails, the policy is in this worker's memory, and other workers fetch it
         * themselves */
        domain_note_write(f->cache->verifier->worker->redis, NOTE_STS, f->domain, slice_of(text), last - now, NULL,
                          NULL);
    }
    free(text);
}

static void fetch_failed(struct find *f, const char *result, const char *reason) {
    metric_add(&fetch_failures, 1);
    log_info("an MTA-STS policy cannot be fetched", "domain", f->domain, "result", result, "reason", reason, NULL);
    json_t *kept = json_copy(f->kept);
    json_object_set_new(kept, "failed_id", json_stringn(f->id.p, f->id.n));
    json_object_set_new(kept, "failure", json_pack("{s:s,s:s}", "result", result, "reason", reason));
    json_object_set_new(kept, "retry", json_integer(clock_wall_ms() + RETRY_MS));
    json_decref(f->kept);
    f->kept = kept;
    keep(f);
    find_finish(f);
}

/* RFC 8461 §3.2: the media type is text/plain, with any parameters. */
static bool is_plain_text(struct slice type) {
    struct slice media;
    if (!slice_cut(&type, ';', &media)) media = type;
    return slice_is_nocase(slice_trim(media), "text/plain");
}

static void on_fetched(void *ctx, const struct http_answer *a) {
    struct find *f = ctx;
    struct mta_sts_policy policy;
    if (a->busy) {
        f->unknown = NO_ROOM;
        find_finish(f);
    } else if (a->status == 0) {
        fetch_failed(f, a->untrusted ? "sts-webpki-invalid" : "sts-policy-fetch-error",
                     arena_printf(f->arena, "%s", a->reason));
    } else if (a->status != 200) { /* RFC 8461 §3.3: redirections are not followed either */
        fetch_failed(f, "sts-policy-fetch-error", arena_printf(f->arena, "HTTP status %d", a->status));
    } else if (!is_plain_text(slice_of(a->content_type))) {
        fetch_failed(f, "sts-policy-invalid", "the policy is not text/plain");
    } else if (mta_sts_policy_parse(f->arena, a->body, &policy)) {
        fetch_failed(f, "sts-policy-invalid", "the policy is malformed");
    } else {
        json_t *mx = json_array();
        json_int_t now = clock_wall_ms(), age = policy.max_age;
        for (size_t i = 0; i < policy.mx_count; i++)
            json_array_append_new(mx, json_stringn(policy.mx[i].p, policy.mx[i].n));
        json_decref(f->kept);
        f->kept = json_pack("{s:s%,s:{s:s,s:o,s:I},s:I,s:I}", "id", f->id.p, f->id.n, "policy", "mode",
                            mta_sts_mode_text(policy.mode), "mx", mx, "max_age", age, "fetched", now, "until",
                            now + age * 1000);
        keep(f);
        find_finish(f);
    }
}

static void fetch(struct find *f) {
    struct buf addresses = {0};
    char text[64];
    size_t count = 0;
    bool unasked = false;
    for (int family = 0; family < 2; family++) {
        const struct answer *a = lookup_answer(f->lookup, f->host, family ? TYPE_AAAA : TYPE_A);
        unasked = unasked || a->unasked;
        for (size_t i = 0; a->status == ANSWER_OK && i < a->count && count < ADDRESSES_MAX; i++, count++)
            buf_printf(&addresses, a->records[i].data.n == 16 ? "%s[%s]" : "%s%s", count ? "," : "",
                       domain_address_text(a->records[i].data, text));
    }
    if (count) {
        metric_add(&fetches, 1);
        http_get(f->cache->verifier->http, arena_copy(f->arena, f->host), HTTPS_PORT, buf_str(&addresses),
                 "/.well-known/mta-sts.txt", on_fetched, f);
    } else if (unasked) {
        f->unknown = NO_ROOM;
        find_finish(f);
    } else {
        fetch_failed(f, "sts-policy-fetch-error", "the policy's host has no address");
    }
    buf_free(&addresses);
}

/* RFC 8461 §3.1: only TXT records that begin with the version count; there is a policy only if
 * there is exactly one such record and it is well-formed. */
static struct slice find_id(const struct answer *txt) {
    struct slice only = SLICE(""), id = SLICE("");
    size_t count = 0;
    for (size_t i = 0; txt->status == ANSWER_OK && i < txt->count; i++)
        if (mta_sts_record_is(txt->records[i].data)) only = txt->records[i].data, count++;
    return count == 1 && mta_sts_record_parse(only, &id) == 0 ? id : SLICE("");
}

/* Whether the stored policy is the announced one, and recent. */
static bool is_current(const struct find *f) {
    return kept_policy(f) && slice_equal(member_slice(f->kept, "id"), f->id) &&
           json_integer_value(json_object_get(f->kept, "fetched")) + REFRESH_MS > clock_wall_ms();
}

static void proceed(struct find *f) {
    if (!f->dns_known || !f->note_known) return;
    if (f->addresses_asked) {
        fetch(f);
        return;
    }
    const struct answer *txt = lookup_answer(f->lookup, f->txt_name, TYPE_TXT);
    f->id = find_id(txt);
    f->bogus = txt->security == ANSWER_BOGUS;
    if (f->bogus) f->unknown = "DNSSEC validation of the domain's MTA-STS record fails";
    if (txt->unasked) f->unknown = NO_ROOM;
    if (f->id.n == 0 || failed_lately(f) || is_current(f)) {
        find_finish(f);
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

static void take_kept(struct find *f, json_t *kept) {
    if (!json_is_object(kept)) return;
    json_decref(f->kept);
    f->kept = json_incref(kept);
}

static void on_note(void *ctx, int error, struct slice text) {
    struct find *f = ctx;
    f->note_known = true;
    if (f->abandoned) {
        find_destroy(f, &(struct sts_finding){0});
        return;
    }
    if (!error) {
        json_t *kept = json_loadb(text.p, text.n, 0, NULL);
        take_kept(f, kept);
        json_decref(kept);
        sts_memory_put(f->cache->memory, slice_of(f->domain), f->kept, clock_wall_ms());
    } else if (error != STORE_NOT_FOUND) { /* the store is not available: the policy in this
                                              worker's memory applies during its max_age */
        take_kept(f, sts_memory_get(f->cache->memory, slice_of(f->domain), clock_wall_ms(), INT64_MAX));
    }
    proceed(f);
}

/* Everything was known at once; done is nevertheless called from the loop. */
static void on_soon(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct find *f = ctx;
    f->note_known = true;
    proceed(f);
}

static void ask_kept(struct find *f) {
    struct verifier *v = f->cache->verifier;
    json_t *kept = sts_memory_get(f->cache->memory, slice_of(f->domain), clock_wall_ms(), STS_MEMORY_FRESH_MS);
    if (kept) {
        take_kept(f, kept);
        event_active(f->soon, EV_TIMEOUT, 0);
        return;
    }
    domain_note_read(v->worker->redis, NOTE_STS, f->domain, on_note, f);
    f->note_asked = true;
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
    f->soon = event_new(c->verifier->worker->base, -1, 0, on_soon, f);
    if (!f->soon) memory_exhausted();
    f->kept = json_object();
    snprintf(f->domain, sizeof f->domain, "%.*s", SLICE_FMT(domain));
    f->lookup = lookup_create(c->verifier->resolver, f->arena, 3, on_dns, f);
    f->txt_name = slice_of(arena_printf(f->arena, "_mta-sts.%s", f->domain));
    lookup_add(f->lookup, f->txt_name, TYPE_TXT);
    f->dns_known = lookup_run(f->lookup); /* the stored policy arrives later than this, so proceed()
                                             is not needed here */
    ask_kept(f);
}

struct sts_cache *sts_cache_create(struct verifier *v) {
    struct sts_cache *c = memory_alloc(sizeof *c);
    c->verifier = v;
    c->memory = sts_memory_create();
    return c;
}

void sts_cache_destroy(struct sts_cache *c) {
    static const struct sts_finding nothing = {
        .unknown = "the domain's MTA-STS policy is not known yet, and this server ends"};
    if (!c) return;
    while (c->finds) {
        struct find *f = c->finds;
        if (f->note_known || !f->note_asked) { // NOLINT(clang-analyzer-unix.Malloc): each takes itself off the list
            find_destroy(f, &nothing);
            continue;
        }
        c->finds = f->next;
        f->abandoned = true;
        tell_waiters(f, &nothing);
    }
    sts_memory_destroy(c->memory);
    free(c);
}
