/* accounts.account.*: accounts of people. A user's id is made once and stays, also when the address should ever change.
 */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"
#include "services/accounts/accounts.h"

struct change {
    struct ask *ask;
    char hash[128];
    bool creating, failed;
    json_t *account; /* as it is being changed */
};

/* What others may see of an account: never the password. */
static json_t *public_view(const json_t *account) {
    return json_pack("{s:O,s:O,s:O,s:O}", "user", json_object_get(account, "user"), "address",
                     json_object_get(account, "address"), "quota_bytes", json_object_get(account, "quota_bytes"),
                     "created", json_object_get(account, "created"));
}

static void change_free(struct change *c) {
    json_decref(c->account);
    free(c);
}

static void on_written(void *ctx, int error) {
    struct change *c = ctx;
    struct ask *a = c->ask;
    if (error) {
        change_free(c);
        ask_refuse_store(a, error, "account");
        return;
    }
    json_t *reply = public_view(c->account);
    accounts_tell(a->accounts, a->address.domain, "account", json_string_value(json_object_get(c->account, "address")),
                  c->creating ? "created" : "changed");
    change_free(c);
    ask_answer(a, reply);
}

static void write_account(struct change *c) {
    struct ask *a = c->ask;
    char *text = json_dumps(c->account, JSON_COMPACT);
    struct slice args[] = {slice_of(a->address.local), slice_of(text)};
    account_change(a->accounts->worker->redis, c->creating ? "account_add" : "account_set", a->address.domain, 2, args,
                   on_written, c);
    free(text);
}

static void hash_password(void *job) { /* on a pool thread */
    struct change *c = job;
    c->failed = password_hash(ask_text(c->ask, "password"), c->hash) != 0;
}

static void password_hashed(void *job) {
    struct change *c = job;
    struct ask *a = c->ask;
    if (c->failed) {
        change_free(c);
        ask_refuse(a, "unavailable", "the password could not be hashed for lack of memory: try again");
        return;
    }
    json_object_set_new(c->account, "password", json_string(c->hash));
    write_account(c);
}

/* The request's fields into the account: NULL, or what is wrong. */
static const char *take_fields(struct change *c) {
    const json_t *quota = json_object_get(c->ask->body, "quota_bytes"),
                 *password = json_object_get(c->ask->body, "password");
    if (password && (!json_is_string(password) || json_string_length(password) < 1 ||
                     json_string_length(password) > PASSWORD_BYTES_MAX))
        return "the password is a text of 1 to 1024 bytes";
    if (quota && (!json_is_integer(quota) || json_integer_value(quota) < 0))
        return "quota_bytes is a number of bytes, 0 for none";
    if (quota) json_object_set_new(c->account, "quota_bytes", json_integer(json_integer_value(quota)));
    return NULL;
}

static void apply(struct change *c) {
    struct ask *a = c->ask;
    const char *wrong = take_fields(c);
    if (wrong) {
        change_free(c);
        ask_refuse(a, "invalid", wrong);
        return;
    }
    if (json_object_get(a->body, "password"))
        service_offload(a->accounts->worker, hash_password, password_hashed, c);
    else
        write_account(c);
}

static void on_add(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    char user[ULID_BYTES], when[CLOCK_TEXT_BYTES], address[ADDRESS_BYTES_MAX];
    if (!ask_take_address(a, "address")) return;
    struct change *c = memory_alloc(sizeof *c);
    c->ask = a;
    c->creating = true;
    ulid_create(user);
    c->account = json_pack("{s:s,s:s,s:i,s:s,s:s}", "user", user, "address", address_text(&a->address, address),
                           "quota_bytes", 0, "created", clock_rfc3339(clock_wall_ms(), when), "password", "");
    apply(c);
}

static void on_found_for_change(void *ctx, int error, const json_t *value) {
    struct ask *a = ctx;
    if (error) {
        ask_refuse_store(a, error, "account");
        return;
    }
    struct change *c = memory_alloc(sizeof *c);
    c->ask = a;
    c->account = json_deep_copy(value);
    apply(c);
}

static void on_set(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address"))
        account_read(a->accounts->worker->redis, a->address.domain, "u", slice_of(a->address.local),
                     on_found_for_change, a);
}

static void on_found(void *ctx, int error, const json_t *value) {
    struct ask *a = ctx;
    if (error)
        ask_refuse_store(a, error, "account");
    else
        ask_answer(a, public_view(value));
}

static void on_get(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address"))
        account_read(a->accounts->worker->redis, a->address.domain, "u", slice_of(a->address.local), on_found, a);
}

static void on_all(void *ctx, int error, const json_t *all) {
    struct ask *a = ctx;
    if (error) {
        ask_refuse_store(a, error, "domain");
        return;
    }
    json_t *accounts = json_array();
    for (void *at = json_object_iter((json_t *)(uintptr_t)all); at;
         at = json_object_iter_next((json_t *)(uintptr_t)all, at))
        json_array_append_new(accounts, public_view(json_object_iter_value(at)));
    ask_answer(a, ask_page(a, accounts, "address", "accounts"));
}

static void on_list(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain")) account_read_all(a->accounts->worker->redis, a->address.domain, "u", on_all, a);
}

static void on_deleted(void *ctx, int error, const json_t *was) {
    struct ask *a = ctx;
    if (error) {
        ask_refuse_store(a, error, "account");
        return;
    }
    char address[ADDRESS_BYTES_MAX];
    accounts_tell(a->accounts, a->address.domain, "account", address_text(&a->address, address), "deleted");
    ask_answer(a, public_view(was)); /* with the user's id: whoever asked goes on with mailbox.delete */
}

static void on_delete(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address"))
        account_delete(a->accounts->worker->redis, a->address.domain, slice_of(a->address.local), on_deleted, a);
}

void users_start(struct accounts *s) {
    bus_serve(s->worker->bus, "account.add", on_add, s);
    bus_serve(s->worker->bus, "account.set", on_set, s);
    bus_serve(s->worker->bus, "account.get", on_get, s);
    bus_serve(s->worker->bus, "account.list", on_list, s);
    bus_serve(s->worker->bus, "account.delete", on_delete, s);
}
