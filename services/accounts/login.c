/* accounts.login: a password checked with argon2id off the loop, with a throttle that all replicas share and a short
 * memory for right passwords. A wrong password, an unknown user and a user without a password take the same time and
 * get the same answer. */
#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/accounts/accounts.h"

enum { BUCKETS = 1024, DIGEST_BYTES = 32, WHO_BYTES = 400 };

static struct metric logins_right = METRIC_COUNTER("postbus_accounts_logins_total", "Logins with the right password");
static struct metric logins_wrong =
    METRIC_COUNTER("postbus_accounts_logins_denied_total", "Logins with a wrong password or unknown user");
static struct metric logins_throttled =
    METRIC_COUNTER("postbus_accounts_logins_throttled_total", "Logins refused because of too many failures before");

/* A right password, as a keyed hash of address, password and the stored hash: it stops fitting when the password
 * changes. */
struct login_entry {
    struct login_entry *next;
    unsigned char digest[DIGEST_BYTES];
    int64_t until_us;
};

struct login_cache {
    struct login_entry *buckets[BUCKETS];
    size_t count;
};

struct login {
    struct ask *ask;
    char who[WHO_BYTES];
    char stored[128], user[64], address[ADDRESS_BYTES_MAX];
    unsigned char digest[DIGEST_BYTES];
    bool known, right;
};

/* Verified against when there is no such user, so that the time says nothing. Made once, before the workers' loops
 * turn. */
static char nobody[128];

static bool cache_has(struct login_cache *c, const unsigned char digest[DIGEST_BYTES]) {
    int64_t now = clock_monotonic_us();
    struct login_entry **at = &c->buckets[(digest[0] | digest[1] << 8) % BUCKETS];
    while (*at) {
        struct login_entry *e = *at;
        if (e->until_us < now) {
            *at = e->next;
            c->count--;
            free(e);
            continue;
        }
        if (sodium_memcmp(e->digest, digest, DIGEST_BYTES) == 0) return true;
        at = &e->next;
    }
    return false;
}

static void cache_add(struct login_cache *c, const unsigned char digest[DIGEST_BYTES]) {
    if (c->count >= LOGIN_CACHE_MAX || cache_has(c, digest)) return;
    struct login_entry **at = &c->buckets[(digest[0] | digest[1] << 8) % BUCKETS];
    struct login_entry *e = memory_alloc(sizeof *e);
    memcpy(e->digest, digest, DIGEST_BYTES);
    e->until_us = clock_monotonic_us() + (int64_t)LOGIN_CACHE_SECONDS * 1000000;
    e->next = *at;
    *at = e;
    c->count++;
}

static void cache_empty(struct login_cache *c) {
    for (int i = 0; i < BUCKETS; i++)
        while (c->buckets[i]) {
            struct login_entry *e = c->buckets[i];
            c->buckets[i] = e->next;
            free(e);
        }
    c->count = 0;
}

static void finish(struct login *l) {
    struct ask *a = l->ask;
    if (l->right) {
        metric_add(&logins_right, 1);
        account_cleared(a->accounts->worker->redis, a->address.domain, slice_of(l->who));
        json_t *reply = json_pack("{s:s,s:s}", "user", l->user, "address", l->address);
        free(l);
        ask_answer(a, reply);
        return;
    }
    metric_add(&logins_wrong, 1);
    account_failed(a->accounts->worker->redis, a->address.domain, slice_of(l->who), LOGIN_WINDOW_SECONDS,
                   LOGIN_FAILURES_FREE);
    log_info("login denied", "login", ask_text(a, "login"), "client", ask_text(a, "client_ip"), "protocol",
             ask_text(a, "protocol"), NULL);
    free(l);
    ask_refuse(a, "denied", "the login or the password is wrong");
}

static void verify(void *job) { /* on a pool thread */
    struct login *l = job;
    const char *password = ask_text(l->ask, "password");
    bool fits = crypto_pwhash_str_verify(l->known ? l->stored : nobody, password, strlen(password)) == 0;
    l->right = fits && l->known;
}

static void verified(void *job) {
    struct login *l = job;
    if (l->right) cache_add(l->ask->accounts->cache, l->digest);
    finish(l);
}

static void on_account(void *ctx, int error, struct slice kind, struct slice name, const json_t *value) {
    struct login *l = ctx;
    struct accounts *s = l->ask->accounts;
    (void)name;
    if (error) {
        struct ask *a = l->ask;
        free(l);
        ask_refuse_store(a, error, "account");
        return;
    }
    if (slice_is(kind, "account")) {
        const char *stored = json_string_value(json_object_get(value, "password"));
        snprintf(l->user, sizeof l->user, "%s", json_string_value(json_object_get(value, "user")));
        snprintf(l->address, sizeof l->address, "%s", json_string_value(json_object_get(value, "address")));
        snprintf(l->stored, sizeof l->stored, "%s", stored ? stored : "");
        l->known = stored && *stored;
    }
    const char *password = ask_text(l->ask, "password");
    crypto_generichash_state h;
    crypto_generichash_init(&h, s->cache_key, sizeof s->cache_key, DIGEST_BYTES);
    crypto_generichash_update(&h, (const unsigned char *)l->stored, sizeof l->stored);
    crypto_generichash_update(&h, (const unsigned char *)l->address, strlen(l->address) + 1);
    crypto_generichash_update(&h, (const unsigned char *)password, strlen(password));
    crypto_generichash_final(&h, l->digest, DIGEST_BYTES);
    if (l->known && cache_has(s->cache, l->digest)) {
        l->right = true;
        finish(l);
        return;
    }
    service_offload(s->worker, verify, verified, l);
}

static void on_wait(void *ctx, int error, long long wait) {
    struct login *l = ctx;
    struct ask *a = l->ask;
    if (error || wait > 0) {
        free(l);
        if (error) {
            ask_refuse_store(a, error, "account");
            return;
        }
        metric_add(&logins_throttled, 1);
        char text[96];
        snprintf(text, sizeof text, "too many failed logins: try again in %lld seconds", wait);
        ask_refuse(a, "busy", text);
        return;
    }
    account_resolve(a->accounts->worker->redis, a->address.domain, slice_of(a->address.local), on_account, l);
}

/* The client's network: a whole IPv4 address, or the first 64 bits of an IPv6 one, which is what one customer has. */
static void client_network(const char *ip, char out[64]) {
    struct in6_addr v6;
    if (inet_pton(AF_INET6, ip, &v6) == 1) {
        memset(v6.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &v6, out, 64);
    } else {
        snprintf(out, 64, "%.45s", ip);
    }
}

static void on_login(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    char network[64];
    if (strlen(ask_text(a, "password")) > PASSWORD_BYTES_MAX ||
        address_normalise(slice_of(ask_text(a, "login")), &a->address) != 0) {
        metric_add(&logins_wrong, 1);
        ask_refuse(a, "denied", "the login is an address, local@domain, and its password");
        return;
    }
    struct login *l = memory_alloc(sizeof *l);
    l->ask = a;
    client_network(ask_text(a, "client_ip"), network);
    snprintf(l->who, sizeof l->who, "%s/%s", a->address.local, network);
    account_login_wait(a->accounts->worker->redis, a->address.domain, slice_of(l->who), on_wait, l);
}

static void on_changed(void *ctx, struct slice about, const json_t *data) {
    struct accounts *s = ctx;
    (void)about, (void)data;
    cache_empty(s->cache);
}

void login_start(struct accounts *s) {
    if (!nobody[0] && password_hash("nobody knows this one", nobody) != 0) memory_exhausted();
    s->cache = memory_alloc(sizeof *s->cache);
    randombytes_buf(s->cache_key, sizeof s->cache_key);
    bus_serve(s->worker->bus, "login", on_login, s);
    bus_hear(s->worker->bus, "account.changed.>", false, on_changed, s);
}

void login_stop(struct accounts *s) {
    cache_empty(s->cache);
    free(s->cache);
}
