#include "services/verifier/keys/keys.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"

enum { BUCKETS = 1024, NOT_FOUND_SECONDS = 5 };

struct waiter {
    struct waiter *next;
    key_cache_fn *done;
    void *ctx;
};

/* A domain: requested (waiters wait for accounts), or known until it expires (keys NULL: it has
 * none). Expired keys stay while new ones are requested. */
struct entry {
    struct key_cache *cache;
    struct entry *chain;
    struct waiter *waiters;
    struct domain_keys *keys;
    uint64_t ticket;  /* 0: no request is running */
    bool stale;       /* dropped while a request was running: its answer is not kept */
    bool doubtful;    /* events may have been lost meanwhile: its answer is asked for again */
    int64_t until_us; /* asked again after this */
    int64_t last_us;  /* keys are not used after this, even when accounts does not answer */
    char domain[256];
};

struct key_cache {
    struct verifier *verifier;
    int64_t keep_us;
    struct entry *buckets[BUCKETS];
    size_t count;
};

struct domain_keys *domain_keys_hold(struct domain_keys *keys) {
    keys->references++;
    return keys;
}

void domain_keys_release(struct domain_keys *keys) {
    if (!keys || --keys->references) return;
    for (size_t i = 0; i < keys->count; i++) {
        EVP_PKEY_free(keys->keys[i].private_key);
        free(keys->keys[i].public_b64);
    }
    free(keys);
}

static struct entry **place_of(struct key_cache *c, struct slice domain) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < domain.n; i++) {
        char ch = domain.p[i];
        h = (h ^ (unsigned char)(ch >= 'A' && ch <= 'Z' ? ch + 32 : ch)) * 1099511628211u;
    }
    struct entry **place = &c->buckets[h % BUCKETS];
    while (*place && !slice_equal_nocase(slice_of((*place)->domain), domain)) place = &(*place)->chain;
    return place;
}

static void entry_destroy(struct entry **place) {
    struct entry *e = *place;
    *place = e->chain;
    e->cache->count--;
    domain_keys_release(e->keys);
    free(e);
}

static void tell_waiters(struct entry *e, struct domain_keys *keys, const char *code) {
    struct waiter *w = e->waiters;
    e->waiters = NULL;
    while (w) {
        struct waiter *next = w->next;
        w->done(w->ctx, keys, code);
        free(w);
        w = next;
    }
}

/* The private key of an active key; NULL when it cannot be used. */
static EVP_PKEY *read_private(struct slice pem, bool rsa) {
    if (pem.n == 0 || pem.n > 16384) return NULL;
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio) memory_exhausted();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (key && EVP_PKEY_get_base_id(key) == (rsa ? EVP_PKEY_RSA : EVP_PKEY_ED25519)) return key;
    EVP_PKEY_free(key);
    return NULL;
}

static bool read_key(const json_t *json, struct signing_key *out) {
    struct slice selector = member_slice(json, "selector"), algorithm = member_slice(json, "algorithm"),
                 state = member_slice(json, "state");
    bool rsa = slice_starts_nocase(algorithm, SLICE("rsa")), active = state.n == 0 || slice_is(state, "active");
    if (selector.n == 0 || selector.n >= sizeof out->selector ||
        (!rsa && !slice_starts_nocase(algorithm, SLICE("ed25519"))))
        return false;
    if (active && !(out->private_key = read_private(member_slice(json, "private_pem"), rsa))) return false;
    snprintf(out->selector, sizeof out->selector, "%.*s", SLICE_FMT(selector));
    snprintf(out->algorithm, sizeof out->algorithm, "%s", rsa ? "rsa-sha256" : "ed25519-sha256");
    out->public_b64 = memory_copy(member_slice(json, "public_b64"));
    return true;
}

bool domain_keys_can_sign(const struct domain_keys *keys) {
    for (size_t i = 0; i < keys->count; i++)
        if (keys->keys[i].private_key) return true;
    return false;
}

static struct domain_keys *read_keys(const char *domain, const json_t *reply) {
    const json_t *list = json_object_get(reply, "keys"), *one;
    struct domain_keys *keys = memory_alloc(sizeof *keys);
    size_t i;
    keys->references = 1;
    json_array_foreach(list, i, one) {
        if (keys->count == KEYS_PER_DOMAIN_MAX) break;
        if (read_key(one, &keys->keys[keys->count]))
            keys->count++;
        else
            log_error("a DKIM key of accounts is unusable", "domain", domain, NULL);
    }
    if (keys->count) return keys;
    domain_keys_release(keys);
    return NULL;
}

static void on_reply(void *ctx, int error, const json_t *reply) {
    struct entry *e = ctx;
    struct key_cache *c = e->cache;
    e->ticket = 0;
    int64_t now = clock_monotonic_us(), keep_us = e->doubtful ? 0 : c->keep_us;
    e->doubtful = false;
    if (error == BUS_UNAVAILABLE && e->keys && !e->stale && now < e->last_us) {
        e->until_us = now + (int64_t)NOT_FOUND_SECONDS * 1000000;
        struct domain_keys *known = domain_keys_hold(e->keys);
        tell_waiters(e, known, "");
        domain_keys_release(known);
        return;
    }
    bool absent = error == BUS_REFUSED && strcmp(bus_error_code(reply), "not_found") == 0;
    struct domain_keys *keys = error == BUS_OK ? read_keys(e->domain, reply) : NULL;
    domain_keys_release(e->keys);
    e->keys = keys;
    e->until_us = now + (keys ? keep_us : (int64_t)NOT_FOUND_SECONDS * 1000000);
    e->last_us = now + (int64_t)KEYS_LAST_SECONDS * 1000000;
    bool keep = !e->stale && (error == BUS_OK || absent);
    if (keys) domain_keys_hold(keys);
    tell_waiters(e, keys, error == BUS_OK || absent ? "not_found" : "unavailable");
    domain_keys_release(keys);
    if (!keep) entry_destroy(place_of(c, slice_of(e->domain)));
}

static void drop_old(struct key_cache *c, int64_t now_us) {
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry **place = &c->buckets[i]; *place;) {
            if (!(*place)->ticket && ((*place)->until_us <= now_us || c->count >= KEYS_DOMAINS_MAX))
                entry_destroy(place);
            else
                place = &(*place)->chain;
        }
    }
}

void key_cache_get(struct key_cache *c, struct slice domain, key_cache_fn *done, void *ctx) {
    int64_t now = clock_monotonic_us();
    struct entry **place = place_of(c, domain);
    if (domain.n == 0 || domain.n >= sizeof(*place)->domain) {
        done(ctx, NULL, "not_found");
        return;
    }
    struct entry *e = *place;
    if (e && !e->ticket && e->until_us > now) {
        done(ctx, e->keys, "not_found");
        return;
    }
    if (!e) {
        if (c->count >= KEYS_DOMAINS_MAX) drop_old(c, now);
        e = memory_alloc(sizeof *e);
        e->cache = c;
        memcpy(e->domain, domain.p, domain.n);
        place = place_of(c, domain);
        *place = e;
        c->count++;
    }
    struct waiter *w = memory_alloc(sizeof *w);
    w->done = done, w->ctx = ctx, w->next = e->waiters;
    e->waiters = w;
    if (!e->ticket) {
        json_t *ask = json_pack("{s:s}", "domain", e->domain);
        e->ticket = bus_request(c->verifier->worker->bus, "accounts.key.get", ask, KEYS_ASK_TIMEOUT_MS, on_reply, e);
    }
}

void key_cache_drop(struct key_cache *c, struct slice domain) {
    struct entry **place = place_of(c, domain);
    if (!*place) return;
    if ((*place)->ticket)
        (*place)->stale = true;
    else
        entry_destroy(place);
}

static void on_account_changed(void *ctx, struct slice about, const json_t *data) {
    (void)about;
    struct slice what = member_slice(data, "what");
    if (slice_is(what, "key") || slice_is(what, "domain")) key_cache_drop(ctx, member_slice(data, "domain"));
}

/* All keys are asked for again when they are needed; until accounts answers, those that are known
 * are used. */
static void on_missed(void *ctx) {
    struct key_cache *c = ctx;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct entry *e = c->buckets[i]; e; e = e->chain) {
            e->until_us = 0;
            e->doubtful = e->ticket != 0;
        }
}

struct key_cache *key_cache_create(struct verifier *v) {
    struct key_cache *c = memory_alloc(sizeof *c);
    c->verifier = v;
    c->keep_us = config_number("POSTBUS_DKIM_KEYS_SECONDS", KEYS_SECONDS, 1, KEYS_LAST_SECONDS) * 1000000;
    bus_follow(v->worker->bus, "account.changed.>", on_account_changed, on_missed, c);
    return c;
}

void key_cache_destroy(struct key_cache *c) {
    if (!c) return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (c->buckets[i]) {
            struct entry *e = c->buckets[i];
            if (e->ticket) bus_cancel(c->verifier->worker->bus, e->ticket);
            tell_waiters(e, NULL, "unavailable");
            entry_destroy(&c->buckets[i]);
        }
    }
    free(c);
}
