/* accounts.login and accounts.scram.*: a password checked with argon2id off the loop, with counters of failures that
 * all replicas share (libcommon/store/login.h) and a cache of right passwords. A wrong password, an unknown user and a
 * user without a password are handled in the same way, so that they take the same time and get the same answer.
 *
 * The way of a login: look (the account, and whether this network may try it) -> remembered:
 * answered -> begin (counted by account) -> begin (counted by network, unless the account logged in
 * from it before) -> argon2, or SCRAM's proof -> answered, and its end told to the counters. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/ulid.h"
#include "libcommon/store/login.h"
#include "services/accounts/accounts.h"
#include "services/accounts/hashing.h"
#include "services/accounts/login_cache.h"

enum { AGAIN_MS = 100, AGAIN_MAX_MS = 1600, KNOWN_REFRESH_MS = 86400000 };

static struct metric logins_right = METRIC_COUNTER("postbus_accounts_logins_total", "Logins with the right password");
static struct metric logins_wrong =
    METRIC_COUNTER("postbus_accounts_logins_denied_total", "Logins with a wrong password or unknown user");
static struct metric logins_throttled =
    METRIC_COUNTER("postbus_accounts_logins_throttled_total", "Logins refused because of too many failures before");
static struct metric logins_busy = METRIC_COUNTER(
    "postbus_accounts_logins_busy_total", "Logins refused because too many others were being checked at the time");

static const struct login_limits limits = {.window_seconds = LOGIN_WINDOW_SECONDS,
                                           .pair = LOGIN_FAILURES_PAIR,
                                           .account = LOGIN_FAILURES_ACCOUNT,
                                           .network = LOGIN_FAILURES_NETWORK,
                                           .wide = LOGIN_FAILURES_WIDE};

enum door { LOGIN_PASSWORD, LOGIN_SALT, LOGIN_PROOF };

struct login {
    struct hashing hashing;
    struct ask *ask;
    enum door door;
    struct scram_keys keys;
    bool has_keys; /* of SCRAM */
    struct login_network network;
    char try[ULID_BYTES];
    char name[LOCAL_BYTES]; /* the local part that the counters go by: the account's own */
    char stored[128], user[64], address[ADDRESS_BYTES_MAX], generation[ULID_BYTES]; /* generation: logins.c */
    char *text;                                                                     /* the account as it is stored */
    bool known, right, network_is_known, network_counted, waiting;
    struct event *again; /* when there is room, perhaps */
    int again_ms;
};

/* Data of the process, created once by login_configure. nobody: a hash that is verified when the
 * user does not exist, so that the time reveals nothing. */
static char nobody[128];
static struct login_cache *cache;

static struct redis *redis_of(const struct login *l) { return l->ask->accounts->worker->redis; }

static void login_free(struct login *l) {
    if (l->waiting) l->ask->accounts->logins_waiting--;
    if (l->again) event_free(l->again);
    if (l->text) sodium_memzero(l->text, strlen(l->text));
    free(l->text);
    free(l);
}

static void refuse(struct login *l, const char *code, const char *message) {
    struct ask *a = l->ask;
    login_free(l);
    ask_refuse(a, code, message);
}

static void refuse_store(struct login *l, int error) {
    struct ask *a = l->ask;
    login_free(l);
    ask_refuse_store(a, error, "account");
}

static void refuse_wait(struct login *l, int64_t wait_ms) {
    char text[96];
    metric_add(&logins_throttled, 1);
    snprintf(text, sizeof text, "too many failed logins: try again in %lld seconds", (long long)(wait_ms + 999) / 1000);
    refuse(l, "busy", text);
}

static void refuse_busy(struct login *l) {
    metric_add(&logins_busy, 1);
    refuse(l, "busy", "too many logins are being checked: try again");
}

static void tell_end(const struct login *l, enum login_end end) {
    login_finish(redis_of(l), l->ask->address.domain, slice_of(l->name), &l->network, l->try, end, &limits, NULL, NULL);
    if (l->network_counted) login_network_finish(redis_of(l), &l->network, l->try, end, &limits, NULL, NULL);
}

/* A right password whose stored hash was made with other parameters, or without keys of SCRAM, is stored again */

struct rehash {
    struct accounts *accounts;
    char domain[DOMAIN_BYTES], name[LOCAL_BYTES];
    struct credentials credentials;
    char *was, *password;
    bool failed;
};

static void rehash_free(struct rehash *r) {
    sodium_memzero(r->password, strlen(r->password));
    free(r->password);
    free(r->was);
    free(r);
}

static void on_rehashed(void *ctx, int error) {
    struct rehash *r = ctx;
    if (error && error != STORE_CONFLICT && error != STORE_NOT_FOUND)
        log_info("a password could not be stored with new parameters; the next login does it", "account", r->name,
                 "domain", r->domain, "reason", store_error_text(error), NULL);
    rehash_free(r);
}

static void rehash_run(void *job) { /* on a pool thread */
    struct rehash *r = job;
    r->failed = credentials_create(r->password, &r->credentials) != 0;
}

static void rehash_done(void *job) {
    struct rehash *r = job;
    json_t *account = r->failed ? NULL : json_loads(r->was, 0, NULL);
    if (!account) {
        rehash_free(r);
        return;
    }
    credentials_put(account, &r->credentials);
    char *text = json_dumps(account, JSON_COMPACT);
    account_set(r->accounts->worker->redis, r->domain, slice_of(r->name), slice_of(r->was), slice_of(text), "", NULL,
                on_rehashed, r);
    free(text);
    json_decref(account);
}

static void rehash(const struct login *l) {
    struct rehash *r = memory_alloc(sizeof *r);
    r->accounts = l->ask->accounts;
    memcpy(r->domain, l->ask->address.domain, sizeof r->domain);
    memcpy(r->name, l->name, sizeof r->name);
    r->was = memory_copy(slice_of(l->text));
    r->password = memory_copy(slice_of(ask_text(l->ask, "password")));
    service_offload(r->accounts->worker, rehash_run, rehash_done, r);
}

/* The end */

static void deny(struct login *l) {
    const struct ask *a = l->ask;
    metric_add(&logins_wrong, 1);
    log_info("login denied", "login", ask_text(a, "login"), "client", ask_text(a, "client_ip"), "protocol",
             ask_text(a, "protocol"), NULL);
    refuse(l, "denied", "the login or the password is wrong");
}

static void answer_right(struct login *l) {
    struct ask *a = l->ask;
    metric_add(&logins_right, 1);
    json_t *reply = json_pack("{s:s,s:s,s:s}", "user", l->user, "address", l->address, "generation", l->generation);
    login_free(l);
    ask_answer(a, reply);
}

static void run(struct hashing *h) { /* on a pool thread */
    struct login *l = (struct login *)h;
    const char *password = ask_text(l->ask, "password");
    bool fits = crypto_pwhash_str_verify(l->known ? l->stored : nobody, password, strlen(password)) == 0;
    l->right = fits && l->known;
}

static void on_hashed(struct hashing *h, bool late) {
    struct login *l = (struct login *)h;
    struct ask *a = l->ask;
    tell_end(l, late ? LOGIN_NOT_LOOKED_AT : l->right ? LOGIN_RIGHT : LOGIN_WRONG);
    if (late) {
        refuse_busy(l);
    } else if (l->right) {
        login_cache_add(cache, l->address, l->stored, ask_text(a, "password"));
        if (password_is_outdated(l->stored) || !l->has_keys || l->keys.iterations != credentials_iterations())
            rehash(l);
        answer_right(l);
    } else {
        deny(l);
    }
}

/* SCRAM (RFC 5802) */

static json_t *base64_of(const unsigned char *bytes, size_t n) {
    struct buf text = {0};
    base64_encode(slice_make((const char *)bytes, n), &text);
    json_t *made = json_string(buf_str(&text));
    buf_free(&text);
    return made;
}

static void on_secret(void *ctx, int error, struct slice secret) {
    struct login *l = ctx;
    struct ask *a = l->ask;
    char address[ADDRESS_BYTES_MAX];
    if (error) {
        refuse_store(l, error);
        return;
    }
    if (!l->has_keys) {
        credentials_no_salt(secret, address_text(&a->address, address), l->keys.salt);
        l->keys.iterations = credentials_iterations();
    }
    json_t *reply = json_pack("{s:o,s:I}", "salt", base64_of(l->keys.salt, sizeof l->keys.salt), "iterations",
                              (json_int_t)l->keys.iterations);
    login_free(l);
    ask_answer(a, reply);
}

static bool decode(const struct ask *a, const char *field, struct buf *out) {
    return base64_decode(slice_of(ask_text(a, field)), false, out) == 0;
}

static void check_proof(struct login *l) {
    struct ask *a = l->ask;
    struct buf message = {0}, proof = {0};
    unsigned char signature[SCRAM_KEY_BYTES];
    l->right = l->known && l->has_keys && decode(a, "message", &message) && decode(a, "proof", &proof) &&
               scram_check(&l->keys, buf_slice(&message), buf_slice(&proof), signature);
    buf_free(&message);
    buf_free(&proof);
    tell_end(l, l->right ? LOGIN_RIGHT : LOGIN_WRONG);
    if (!l->right) {
        deny(l);
        return;
    }
    metric_add(&logins_right, 1);
    json_t *reply = json_pack("{s:s,s:s,s:s,s:o}", "user", l->user, "address", l->address, "generation", l->generation,
                              "signature", base64_of(signature, sizeof signature));
    login_free(l);
    ask_answer(a, reply);
}

/* The beginning */

static uint64_t network_number(const struct login *l) {
    uint64_t n;
    unsigned char h[crypto_generichash_BYTES_MIN];
    crypto_generichash(h, sizeof h, (const unsigned char *)l->network.narrow, strlen(l->network.narrow), NULL, 0);
    memcpy(&n, h, sizeof n);
    return n;
}

static void hash(struct login *l) {
    if (l->door == LOGIN_PROOF) {
        check_proof(l);
        return;
    }
    if (hashing_add(&l->hashing, network_number(l))) return;
    tell_end(l, LOGIN_NOT_LOOKED_AT);
    refuse_busy(l);
}

static void look(struct login *l);

/* Starts again: another login may have had the same right password. */
static void on_again(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    look(ctx);
}

/* As many tries as are allowed run already: soon again, unless too many wait or the asker does not
 * any more. */
static void begin_again(struct login *l) {
    struct accounts *s = l->ask->accounts;
    if (clock_monotonic_us() > l->hashing.deadline_us || (!l->waiting && s->logins_waiting >= LOGIN_WAITING_MAX)) {
        refuse_busy(l);
        return;
    }
    if (!l->waiting) s->logins_waiting++;
    l->waiting = true;
    l->again_ms = l->again_ms ? (l->again_ms < AGAIN_MAX_MS ? l->again_ms * 2 : AGAIN_MAX_MS) : AGAIN_MS;
    struct timeval wait = {l->again_ms / 1000, l->again_ms % 1000 * 1000};
    if (!l->again) l->again = evtimer_new(s->worker->base, on_again, l);
    event_add(l->again, &wait);
}

static void on_network_begun(void *ctx, int error, int64_t wait_ms) {
    struct login *l = ctx;
    l->network_counted = !error && wait_ms == 0;
    if (l->network_counted) {
        hash(l);
        return;
    }
    tell_end(l, LOGIN_NOT_LOOKED_AT);
    if (error)
        refuse_store(l, error);
    else if (wait_ms > 0)
        refuse_wait(l, wait_ms);
    else
        begin_again(l);
}

static void on_begun(void *ctx, int error, int64_t wait_ms) {
    struct login *l = ctx;
    if (error)
        refuse_store(l, error);
    else if (wait_ms > 0)
        refuse_wait(l, wait_ms);
    else if (wait_ms < 0)
        begin_again(l);
    else if (l->network_is_known)
        hash(l);
    else
        login_network_begin(redis_of(l), &l->network, l->try, &limits, on_network_begun, l);
}

static void begin(struct login *l) {
    login_begin(redis_of(l), l->ask->address.domain, slice_of(l->name), &l->network, l->try, &limits, on_begun, l);
}

static void take_account(struct login *l, struct slice text) {
    json_t *account = text.n ? json_loadb(text.p, text.n, 0, NULL) : NULL;
    const char *stored = json_string_value(json_object_get(account, "password")),
               *user = json_string_value(json_object_get(account, "user")),
               *address = json_string_value(json_object_get(account, "address")),
               *generation = json_string_value(json_object_get(account, "generation"));
    l->known = stored && *stored && user && address;
    l->has_keys = l->known && credentials_scram(account, &l->keys);
    if (l->known) {
        snprintf(l->user, sizeof l->user, "%s", user);
        snprintf(l->address, sizeof l->address, "%s", address);
        snprintf(l->stored, sizeof l->stored, "%s", stored);
        snprintf(l->generation, sizeof l->generation, "%s", generation ? generation : "");
        free(l->text);
        l->text = memory_copy(text);
    }
    json_decref(account);
}

static void on_look(void *ctx, int error, struct slice text, struct slice name, int64_t wait_ms, int64_t known_ms) {
    struct login *l = ctx;
    struct ask *a = l->ask;
    if (error) {
        refuse_store(l, error);
        return;
    }
    if (wait_ms > 0) {
        refuse_wait(l, wait_ms);
        return;
    }
    snprintf(l->name, sizeof l->name, "%.*s", SLICE_FMT(name));
    take_account(l, text);
    l->network_is_known = known_ms > 0;
    if (l->door == LOGIN_SALT) {
        account_secret(redis_of(l), on_secret, l);
        return;
    }
    if (l->door == LOGIN_PASSWORD && l->known && known_ms > 0 &&
        login_cache_has(cache, l->address, l->stored, ask_text(a, "password"))) {
        if (clock_wall_ms() - known_ms > KNOWN_REFRESH_MS) tell_end(l, LOGIN_RIGHT);
        answer_right(l);
        return;
    }
    begin(l);
}

static void look(struct login *l) {
    const struct mail_address *address = &l->ask->address;
    login_look(redis_of(l), address->domain, slice_of(address->local), &l->network, on_look, l);
}

static void log_in(void *ctx, struct bus_call *call, const json_t *body, enum door door) {
    struct ask *a = ask_create(ctx, call, body);
    if (strlen(ask_text(a, "password")) > PASSWORD_BYTES_MAX ||
        address_normalise(slice_of(ask_text(a, "login")), &a->address) != 0) {
        metric_add(&logins_wrong, 1);
        ask_refuse(a, "denied", "the login is an address, local@domain, and its password");
        return;
    }
    struct login *l = memory_alloc(sizeof *l);
    l->ask = a;
    l->door = door;
    l->hashing = (struct hashing){.worker = a->accounts->worker, .run = run, .done = on_hashed};
    l->hashing.deadline_us = clock_monotonic_us() + (int64_t)LOGIN_DEADLINE_MS * 1000;
    ulid_create(l->try);
    login_network_of(ask_text(a, "client_ip"), &l->network);
    look(l);
}

static void on_login(void *ctx, struct bus_call *call, const json_t *body) { log_in(ctx, call, body, LOGIN_PASSWORD); }
static void on_salt(void *ctx, struct bus_call *call, const json_t *body) { log_in(ctx, call, body, LOGIN_SALT); }
static void on_proof(void *ctx, struct bus_call *call, const json_t *body) { log_in(ctx, call, body, LOGIN_PROOF); }

/* Removes only the names of the change from the cache. */
static void on_changed(void *ctx, struct slice about, const json_t *data) {
    const char *what = json_string_value(json_object_get(data, "what")),
               *name = json_string_value(json_object_get(data, "name"));
    (void)ctx, (void)about;
    if (!what || !name) return;
    if (strcmp(what, "account") == 0)
        login_cache_forget(cache, name);
    else if (strcmp(what, "domain") == 0)
        login_cache_forget_domain(cache, name);
}

void login_configure(void) {
    if (password_hash("nobody knows this one", nobody) != 0) memory_exhausted();
    cache = login_cache_create(LOGIN_CACHE_SECONDS, LOGIN_CACHE_MAX);
}

void login_start(struct accounts *s) {
    bus_serve(s->worker->bus, "login", on_login, s);
    bus_serve(s->worker->bus, "scram.salt", on_salt, s);
    bus_serve(s->worker->bus, "scram.login", on_proof, s);
    bus_hear(s->worker->bus, "account.changed.>", false, on_changed, s);
}

void login_cleanup(void) { login_cache_destroy(cache); }
