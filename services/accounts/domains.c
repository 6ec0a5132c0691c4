/* accounts.domain.*: a domain comes with two DKIM keys (rsa-2048 for everyone, ed25519 for those who can, RFC 8463); accounts.key.get gives them to the
 * verifier. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "services/accounts/accounts.h"

struct keys {
    struct ask *ask;
    json_t *rsa, *ed25519;
};

static void refuse(struct ask *a, int error) { ask_refuse_store(a, error, "domain"); }

/* add ------------------------------------------------------------------------------------------------------------------------------------- */

static void on_listed(void *ctx, int error) {
    struct ask *a = ctx;
    if (error) {
        refuse(a, error);
        return;
    }
    accounts_tell(a->accounts, a->address.domain, "domain", a->address.domain, "created");
    ask_answer(a, json_pack("{s:s,s:s,s:{}}", "domain", a->address.domain, "created", a->more, "dns"));
}

static void on_added(void *ctx, int error) {
    struct ask *a = ctx;
    /* listed also when it was there: an earlier add may have been cut off before it came to that */
    if (!error || error == STORE_EXISTS) account_domain_listed(a->accounts->worker->redis, a->address.domain, true, error ? NULL : on_listed, a);
    if (error) refuse(a, error);
}

static void make_keys(void *job) { /* on a pool thread */
    struct keys *k = job;
    char selector[32];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    snprintf(selector, sizeof selector, "r%04d%02d", tm.tm_year + 1900, tm.tm_mon + 1);
    k->rsa = dkim_key_create(selector, "rsa");
    selector[0] = 'e';
    k->ed25519 = dkim_key_create(selector, "ed25519");
}

static void keys_made(void *job) {
    struct keys *k = job;
    struct ask *a = k->ask;
    json_t *made[] = {k->rsa, k->ed25519};
    free(k);
    if (!made[0] || !made[1]) {
        json_decref(made[0]);
        json_decref(made[1]);
        ask_refuse(a, "unavailable", "the DKIM keys could not be made: try again");
        return;
    }
    char when[CLOCK_TEXT_BYTES], *texts[2];
    struct slice args[5] = {slice_of(clock_rfc3339(clock_wall_ms(), when))};
    a->more = memory_copy(args[0]);
    for (int i = 0; i < 2; i++) {
        texts[i] = json_dumps(made[i], JSON_COMPACT);
        args[1 + 2 * i] = slice_of(json_string_value(json_object_get(made[i], "selector")));
        args[2 + 2 * i] = slice_of(texts[i]);
    }
    account_change(a->accounts->worker->redis, "account_domain_add", a->address.domain, 5, args, on_added, a);
    for (int i = 0; i < 2; i++) {
        free(texts[i]);
        json_decref(made[i]);
    }
}

static void on_add(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (!ask_take_domain(a, "domain")) return;
    struct keys *k = memory_alloc(sizeof *k);
    k->ask = a;
    service_offload(a->accounts->worker, make_keys, keys_made, k);
}

/* get, list, delete, keys ------------------------------------------------------------------------------------------------------------------ */

static void on_got(void *ctx, int error, const json_t *value) {
    struct ask *a = ctx;
    if (error) {
        refuse(a, error);
        return;
    }
    const char *created = json_string_value(json_object_get(value, "created"));
    ask_answer(a, json_pack("{s:s,s:s,s:o}", "domain", a->address.domain, "created", created ? created : "", "dns", domain_settings_read(value)));
}

static void on_get(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain")) account_read_all(a->accounts->worker->redis, a->address.domain, "d", on_got, a);
}

static void on_names(void *ctx, int error, const json_t *names) {
    struct ask *a = ctx;
    if (error)
        refuse(a, error);
    else
        ask_answer(a, ask_page(a, json_copy((json_t *)(uintptr_t)names), NULL, "domains"));
}

static void on_list(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    account_domains(a->accounts->worker->redis, on_names, a);
}

static void on_deleted(void *ctx, int error) {
    struct ask *a = ctx;
    if (error) {
        refuse(a, error);
        return;
    }
    account_domain_listed(a->accounts->worker->redis, a->address.domain, false, NULL, NULL);
    accounts_tell(a->accounts, a->address.domain, "domain", a->address.domain, "deleted");
    ask_answer(a, json_object());
}

static void on_delete(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (!ask_take_domain(a, "domain")) return;
    struct slice force = json_is_true(json_object_get(a->body, "force")) ? SLICE("1") : SLICE("0");
    account_change(a->accounts->worker->redis, "account_domain_delete", a->address.domain, 1, &force, on_deleted, a);
}

static void on_keys(void *ctx, int error, const json_t *all) {
    struct ask *a = ctx;
    if (error) {
        refuse(a, error);
        return;
    }
    json_t *keys = json_array();
    for (void *at = json_object_iter((json_t *)(uintptr_t)all); at; at = json_object_iter_next((json_t *)(uintptr_t)all, at))
        json_array_append(keys, json_object_iter_value(at));
    if (json_array_size(keys) == 0) {
        json_decref(keys);
        refuse(a, STORE_NOT_FOUND);
        return;
    }
    ask_answer(a, json_pack("{s:o}", "keys", keys));
}

static void on_key_get(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain")) account_read_all(a->accounts->worker->redis, a->address.domain, "k", on_keys, a);
}

void domains_start(struct accounts *s) {
    bus_serve(s->worker->bus, "domain.add", on_add, s);
    bus_serve(s->worker->bus, "domain.get", on_get, s);
    bus_serve(s->worker->bus, "domain.list", on_list, s);
    bus_serve(s->worker->bus, "domain.delete", on_delete, s);
    bus_serve(s->worker->bus, "key.get", on_key_get, s);
}
