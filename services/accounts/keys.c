/* accounts.key.*: the DKIM keys of a domain and their roll-over. account.lua defines the states of
 * a key and their transitions. The verifier decides when a step is due and whether a key is in DNS
 * (services/verifier/keys/rotate.c). */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "services/accounts/accounts.h"

enum { SELECTORS_MAX = 16 };

/* Making */

struct making {
    struct ask *ask;
    keys_made_fn *done;
    json_t *keys[KEYS_MADE];
};

static void make(void *job) { /* on a pool thread */
    struct making *m = job;
    m->keys[0] = dkim_key_create("rsa");
    m->keys[1] = dkim_key_create("ed25519");
}

static void made(void *job) {
    struct making *m = job;
    bool whole = m->keys[0] && m->keys[1];
    if (whole)
        m->done(m->ask, m->keys);
    else
        ask_refuse(m->ask, "unavailable", "the DKIM keys could not be made: try again");
    for (int i = 0; i < KEYS_MADE; i++) json_decref(m->keys[i]);
    free(m);
}

void keys_make(struct ask *a, keys_made_fn *done) {
    struct making *m = memory_alloc(sizeof *m);
    m->ask = a;
    m->done = done;
    service_offload(a->accounts->worker, make, made, m);
}

const char *keys_month(char out[KEYS_MONTH_BYTES]) {
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    snprintf(out, KEYS_MONTH_BYTES, "%04d%02d", (tm.tm_year + 1900) % 10000, tm.tm_mon % 12 + 1);
    return out;
}

/* Showing */

static const char *text_of(const json_t *key, const char *name, const char *fallback) {
    const char *text = json_string_value(json_object_get(key, name));
    return text ? text : fallback;
}

/* All keys of the store; a key that was stored before states existed is active. */
static json_t *whole_keys(const json_t *all) {
    json_t *keys = json_array();
    for (void *at = json_object_iter((json_t *)(uintptr_t)all); at;
         at = json_object_iter_next((json_t *)(uintptr_t)all, at)) {
        json_t *key = json_copy(json_object_iter_value(at));
        json_object_set_new(key, "state", json_string(text_of(key, "state", "active")));
        json_object_set_new(key, "changed", json_string(text_of(key, "changed", text_of(key, "created", ""))));
        json_array_append_new(keys, key);
    }
    return keys;
}

static void on_got(void *ctx, int error, const json_t *all) {
    struct ask *a = ctx;
    if (!error && json_object_size(all) == 0) error = STORE_NOT_FOUND;
    if (error)
        ask_refuse_store(a, error, "domain");
    else
        ask_answer(a, json_pack("{s:o}", "keys", whole_keys(all)));
}

/* With private keys: only for the verifier. */
static void on_get(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain")) account_read_all(a->accounts->worker->redis, a->address.domain, "k", on_got, a);
}

/* The advice on a key for people. */
static const char *note_of(const json_t *key) {
    const char *state = text_of(key, "state", "");
    if (strcmp(state, "active") == 0) return "signs every message of the domain; its record must stay";
    if (strcmp(state, "published") == 0 && json_object_get(key, "seen"))
        return "is in DNS, and signs as soon as that is known everywhere";
    if (strcmp(state, "published") == 0)
        return "is not in DNS yet: where Postbus does not serve the zone, publish this record; it signs nothing before "
               "it is seen there";
    if (json_is_true(json_object_get(key, "revoked")))
        return "is revoked: where Postbus does not serve the zone, publish this record, with its empty p=";
    return "signs nothing any more; its record stays for mail on its way and goes by itself";
}

static void on_listed(void *ctx, int error, const json_t *all) {
    struct ask *a = ctx;
    size_t i;
    json_t *key;
    if (!error && json_object_size(all) == 0) error = STORE_NOT_FOUND;
    if (error) {
        ask_refuse_store(a, error, "domain");
        return;
    }
    json_t *keys = whole_keys(all);
    json_array_foreach(keys, i, key) {
        struct buf name = {0}, value = {0};
        json_object_del(key, "private_pem");
        buf_printf(&name, "%s._domainkey.%s", text_of(key, "selector", ""), a->address.domain);
        buf_printf(&value, "v=DKIM1; k=%s; p=%s", text_of(key, "algorithm", ""),
                   text_of(key, "public_b64", "")); /* RFC 6376 §3.6.1 */
        json_object_set_new(key, "name", json_string(buf_str(&name)));
        json_object_set_new(key, "value", json_string(buf_str(&value)));
        json_object_set_new(key, "note", json_string(note_of(key)));
        buf_free(&name);
        buf_free(&value);
    }
    ask_answer(a, json_pack("{s:s,s:o}", "domain", a->address.domain, "keys", keys));
}

/* Without private keys: for people, and for the timer of the roll-over. */
static void on_list(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain"))
        account_read_all(a->accounts->worker->redis, a->address.domain, "k", on_listed, a);
}

/* Changing */

/* Publishes each change and answers with them: {"changed":[…]}. change: "created", "changed" or
 * "deleted". */
static void answer_changed(struct ask *a, int error, const json_t *selectors, const char *change) {
    size_t i;
    json_t *each;
    if (error == STORE_CONFLICT) {
        ask_refuse(a, "exists",
                   "the keys' states do not allow it: a key must be seen in DNS before it signs, and too many may not "
                   "be retired at once");
        return;
    }
    if (error) {
        ask_refuse_store(a, error, error == STORE_NOT_FOUND ? "domain or key" : "key");
        return;
    }
    json_array_foreach((json_t *)(uintptr_t)selectors, i, each)
        accounts_tell(a->accounts, a->address.domain, "key", json_string_value(each), change);
    ask_answer(a, json_pack("{s:O}", "changed", selectors));
}

static void on_added(void *ctx, int error, const json_t *selectors) {
    answer_changed(ctx, error, selectors, "created");
}
static void on_changed(void *ctx, int error, const json_t *selectors) {
    answer_changed(ctx, error, selectors, "changed");
}
static void on_removed(void *ctx, int error, const json_t *selectors) {
    answer_changed(ctx, error, selectors, "deleted");
}

static bool is_urgent(const struct ask *a) { return json_is_true(json_object_get(a->body, "now")); }

static void add_keys(struct ask *a, json_t *const keys[KEYS_MADE]) {
    char when[CLOCK_TEXT_BYTES], month[KEYS_MONTH_BYTES], *texts[KEYS_MADE];
    const char *made[KEYS_MADE];
    for (int i = 0; i < KEYS_MADE; i++) made[i] = texts[i] = json_dumps(keys[i], JSON_COMPACT);
    account_keys_add(a->accounts->worker->redis, a->address.domain, clock_rfc3339(clock_wall_ms(), when),
                     keys_month(month), is_urgent(a), KEYS_MADE, made, on_added, a);
    for (int i = 0; i < KEYS_MADE; i++) free(texts[i]);
}

static void on_domain(void *ctx, int error, const json_t *fields) {
    struct ask *a = ctx;
    (void)fields;
    if (error)
        ask_refuse_store(a, error, "domain");
    else
        keys_make(a, add_keys);
}

/* Checks first, so that unneeded keys are not created. */
static void on_may_rotate(void *ctx, int error, const json_t *all) {
    struct ask *a = ctx;
    if (error) {
        ask_refuse_store(a, error, "domain");
        return;
    }
    for (void *at = json_object_iter((json_t *)(uintptr_t)all); at;
         at = json_object_iter_next((json_t *)(uintptr_t)all, at)) {
        const json_t *key = json_object_iter_value(at);
        bool pending = strcmp(text_of(key, "state", "active"), "published") == 0;
        if (pending && (!is_urgent(a) || json_is_true(json_object_get(key, "urgent")))) {
            ask_answer(a, json_pack("{s:[]}", "changed"));
            return;
        }
    }
    if (json_object_size(all))
        keys_make(a, add_keys);
    else
        account_read_all(a->accounts->worker->redis, a->address.domain, "d", on_domain, a);
}

static void on_rotate(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain"))
        account_read_all(a->accounts->worker->redis, a->address.domain, "k", on_may_rotate, a);
}

/* The selectors of a field; false when there are more than SELECTORS_MAX or another thing. */
static bool take_selectors(const struct ask *a, const char *field, const char *selectors[SELECTORS_MAX], size_t *n) {
    size_t i;
    json_t *each;
    *n = 0;
    json_array_foreach(json_object_get(a->body, field), i, each) {
        if (*n == SELECTORS_MAX || !json_is_string(each)) return false;
        selectors[(*n)++] = json_string_value(each);
    }
    return true;
}

static void on_seen(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    char now[CLOCK_TEXT_BYTES], ready[CLOCK_TEXT_BYTES];
    const char *seen[SELECTORS_MAX], *unseen[SELECTORS_MAX];
    size_t seen_count, unseen_count;
    int64_t wall = clock_wall_ms(), ttl = json_integer_value(json_object_get(a->body, "ttl"));
    if (!ask_take_domain(a, "domain")) return;
    if (ttl < 0 || ttl > KEYS_TTL_MAX) ttl = KEYS_TTL_MAX;
    if (take_selectors(a, "seen", seen, &seen_count) && take_selectors(a, "unseen", unseen, &unseen_count))
        account_keys_seen(a->accounts->worker->redis, a->address.domain, clock_rfc3339(wall, now),
                          clock_rfc3339(wall + ttl * 1000, ready), seen_count, seen, unseen_count, unseen, on_changed,
                          a);
    else
        ask_refuse(a, "invalid", "seen and unseen are lists of selectors");
}

/* The domain and the selectors of a request about some of its keys; false after refusing. */
static bool take_listed(struct ask *a, const char *selectors[SELECTORS_MAX], size_t *n) {
    if (!ask_take_domain(a, "domain")) return false;
    if (take_selectors(a, "selectors", selectors, n) && *n) return true;
    ask_refuse(a, "invalid", "selectors is a list of 1 to 16 selectors");
    return false;
}

static void on_activate(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    char now[CLOCK_TEXT_BYTES];
    const char *selectors[SELECTORS_MAX];
    size_t n;
    if (take_listed(a, selectors, &n))
        account_keys_activate(a->accounts->worker->redis, a->address.domain, clock_rfc3339(clock_wall_ms(), now), n,
                              selectors, on_changed, a);
}

static void on_remove(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    const char *selectors[SELECTORS_MAX];
    size_t n;
    if (take_listed(a, selectors, &n))
        account_keys_remove(a->accounts->worker->redis, a->address.domain, n, selectors, on_removed, a);
}

void keys_start(struct accounts *s) {
    bus_serve(s->worker->bus, "key.get", on_get, s);
    bus_serve(s->worker->bus, "key.list", on_list, s);
    bus_serve(s->worker->bus, "key.rotate", on_rotate, s);
    bus_serve(s->worker->bus, "key.seen", on_seen, s);
    bus_serve(s->worker->bus, "key.activate", on_activate, s);
    bus_serve(s->worker->bus, "key.remove", on_remove, s);
}
