/* accounts.domain.*: a new domain gets two DKIM keys. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "services/accounts/accounts.h"

static void refuse(struct ask *a, int error) { ask_refuse_store(a, error, "domain"); }

/* add */

static void on_listed(void *ctx, int error) {
    struct ask *a = ctx;
    if (error) {
        refuse(a, error);
        return;
    }
    accounts_tell(a->accounts, a->address.domain, "domain", a->address.domain, "created");
    ask_answer(a, json_pack("{s:s,s:s,s:{}}", "domain", a->address.domain, "created", a->more, "dns"));
}

static void on_listed_before(void *ctx, int error) { refuse(ctx, error ? error : STORE_EXISTS); }

static void on_added(void *ctx, int error) {
    struct ask *a = ctx;
    /* added to the list also if the domain exists: an earlier request may have been interrupted
     * before this step */
    if (!error || error == STORE_EXISTS)
        account_domain_listed(a->accounts->worker->redis, a->address.domain, true, error ? on_listed_before : on_listed,
                              a);
    else
        refuse(a, error);
}

/* The first keys sign at once: a receiver treats a signature whose key is not in DNS yet like a
 * missing one (RFC 6376 §6.1.2). */
static void on_keys(struct ask *a, json_t *const keys[KEYS_MADE]) {
    char when[CLOCK_TEXT_BYTES], month[KEYS_MONTH_BYTES], selectors[KEYS_MADE][KEYS_MONTH_BYTES + 1], *texts[KEYS_MADE];
    struct account_field fields[KEYS_MADE];
    a->more = memory_copy(slice_of(clock_rfc3339(clock_wall_ms(), when)));
    keys_month(month);
    for (int i = 0; i < KEYS_MADE; i++) {
        bool rsa = strcmp(json_string_value(json_object_get(keys[i], "algorithm")), "rsa") == 0;
        snprintf(selectors[i], sizeof selectors[i], "%c%s", rsa ? 'r' : 'e', month);
        json_object_set_new(keys[i], "selector", json_string(selectors[i]));
        json_object_set_new(keys[i], "state", json_string("active"));
        json_object_set_new(keys[i], "changed", json_string(when));
        texts[i] = json_dumps(keys[i], JSON_COMPACT);
        fields[i] = (struct account_field){selectors[i], texts[i]};
    }
    account_domain_add(a->accounts->worker->redis, a->address.domain, when, KEYS_MADE, fields, on_added, a);
    for (int i = 0; i < KEYS_MADE; i++) free(texts[i]);
}

static void on_add(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain")) keys_make(a, on_keys);
}

/* get, list, delete */

static void on_got(void *ctx, int error, const json_t *value) {
    struct ask *a = ctx;
    if (error) {
        refuse(a, error);
        return;
    }
    const char *created = json_string_value(json_object_get(value, "created"));
    ask_answer(a, json_pack("{s:s,s:s,s:o}", "domain", a->address.domain, "created", created ? created : "", "dns",
                            domain_settings_read(value)));
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

static void on_unlisted(void *ctx, int error) {
    struct ask *a = ctx;
    if (error)
        refuse(a, error);
    else
        ask_answer(a, json_object());
}

static void on_unlisted_before(void *ctx, int error) { refuse(ctx, error ? error : STORE_NOT_FOUND); }

/* gone: local part and user id of each account that went with the domain. Their mail is deleted
 * from now on, that of the first ones at once and the others' by the clock of owed.c; the answer
 * does not wait for it. */
static void on_deleted(void *ctx, int error, const json_t *gone) {
    struct ask *a = ctx;
    if (error && error != STORE_NOT_FOUND) {
        refuse(a, error);
        return;
    }
    for (size_t i = 0; i + 1 < json_array_size(gone); i += 2) {
        struct mail_address address = a->address;
        char text[ADDRESS_BYTES_MAX];
        snprintf(address.local, sizeof address.local, "%s", json_string_value(json_array_get(gone, i)));
        accounts_tell_account(a->accounts, a->address.domain, address_text(&address, text),
                              json_string_value(json_array_get(gone, i + 1)), "deleted", true);
        if (a->accounts->owed_count < OWED_RUNNING_MAX)
            owed_do(a->accounts, a->address.domain, json_string_value(json_array_get(gone, i + 1)), "delete", NULL,
                    NULL);
    }
    if (!error) accounts_tell(a->accounts, a->address.domain, "domain", a->address.domain, "deleted");
    /* removed from the list also if the domain does not exist: an earlier deletion may have been
     * interrupted before this step */
    account_domain_listed(a->accounts->worker->redis, a->address.domain, false,
                          error ? on_unlisted_before : on_unlisted, a);
}

static void on_marked(void *ctx, int error) {
    struct ask *a = ctx;
    bool force = json_is_true(json_object_get(a->body, "force"));
    if (error)
        refuse(a, error);
    else
        account_domain_delete(a->accounts->worker->redis, a->address.domain, force, on_deleted, a);
}

static void on_delete(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain")) account_owing_mark(a->accounts->worker->redis, a->address.domain, on_marked, a);
}

void domains_start(struct accounts *s) {
    bus_serve(s->worker->bus, "domain.add", on_add, s);
    bus_serve(s->worker->bus, "domain.get", on_get, s);
    bus_serve(s->worker->bus, "domain.list", on_list, s);
    bus_serve(s->worker->bus, "domain.delete", on_delete, s);
}
