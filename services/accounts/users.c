/* accounts.account.*: accounts of users. A user's id is created once and never changes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"
#include "services/accounts/accounts.h"

/* A change of an account. It replaces the text that was read; if another change happened in
 * between, the account is read and changed again, so that no concurrent change is lost. */
struct change {
    struct ask *ask;
    struct credentials credentials; /* hash empty: no new password */
    bool creating, failed;
    int tries;
    json_t *account; /* as it is being changed */
    char *was;       /* as it was read; NULL: it is new */
    struct buf owed; /* the operation that is owed to the mailbox service; empty: none */
};

/* The public fields of an account, without the password. */
static json_t *public_view(const json_t *account) {
    return json_pack("{s:O,s:O,s:O,s:O}", "user", json_object_get(account, "user"), "address",
                     json_object_get(account, "address"), "quota_bytes", json_object_get(account, "quota_bytes"),
                     "created", json_object_get(account, "created"));
}

static void change_free(struct change *c) {
    json_decref(c->account);
    buf_free(&c->owed);
    free(c->was);
    free(c);
}

static void change_refuse(struct change *c, const char *code, const char *message) {
    struct ask *a = c->ask;
    change_free(c);
    ask_refuse(a, code, message);
}

static void change_refuse_store(struct change *c, int error) {
    struct ask *a = c->ask;
    bool no_domain = error == STORE_NOT_FOUND && c->creating;
    change_free(c);
    ask_refuse_store(a, error, no_domain ? "domain" : "account");
}

static void read_account(struct change *c);

static void on_written(void *ctx, int error) {
    struct change *c = ctx;
    struct ask *a = c->ask;
    if (error == STORE_CONFLICT && ++c->tries < SET_TRIES_MAX) {
        read_account(c);
        return;
    }
    if (error == STORE_CONFLICT) {
        change_refuse(c, "busy", "the account is being changed by others all the time: try again");
        return;
    }
    if (error) {
        change_refuse_store(c, error);
        return;
    }
    json_t *reply = public_view(c->account);
    const char *user = json_string_value(json_object_get(c->account, "user"));
    accounts_tell_account(a->accounts, a->address.domain, json_string_value(json_object_get(c->account, "address")),
                          user, c->creating ? "created" : "changed", !c->creating && c->credentials.hash[0]);
    if (c->owed.n)
        owed_do(a->accounts, a->address.domain, user, buf_str(&c->owed), a, reply);
    else
        ask_answer(a, reply);
    change_free(c);
}

static void write_account(void *ctx, int error) {
    struct change *c = ctx;
    struct ask *a = c->ask;
    struct redis *r = a->accounts->worker->redis;
    if (error) {
        change_refuse_store(c, error);
        return;
    }
    if (c->credentials.hash[0]) {
        char generation[ULID_BYTES];
        ulid_create(generation);
        credentials_put(c->account, &c->credentials);
        json_object_set_new(c->account, "generation", json_string(generation)); /* logins.c */
    }
    char *text = json_dumps(c->account, JSON_COMPACT);
    const char *user = json_string_value(json_object_get(c->account, "user")),
               *owed = c->owed.n ? buf_str(&c->owed) : NULL;
    if (c->creating)
        account_add(r, a->address.domain, slice_of(a->address.local), slice_of(text), user, owed, on_written, c);
    else
        account_set(r, a->address.domain, slice_of(a->address.local), slice_of(c->was), slice_of(text), user, owed,
                    on_written, c);
    free(text);
}

/* The request's quota into the account, and the write. */
static void apply(struct change *c) {
    struct ask *a = c->ask;
    const json_t *quota = json_object_get(a->body, "quota_bytes");
    if (quota) json_object_set_new(c->account, "quota_bytes", json_integer(json_integer_value(quota)));
    buf_reset(&c->owed);
    if (quota && (!c->creating || json_integer_value(quota) > 0))
        buf_printf(&c->owed, "quota %lld %s", json_integer_value(quota), a->address.local);
    if (c->owed.n)
        account_owing_mark(a->accounts->worker->redis, a->address.domain, write_account, c);
    else
        write_account(c, 0);
}

static void on_read(void *ctx, int error, struct slice text) {
    struct change *c = ctx;
    if (!error) {
        json_decref(c->account);
        free(c->was);
        c->was = memory_copy(text);
        c->account = json_loadb(text.p, text.n, 0, NULL);
        if (!c->account) error = STORE_INVALID;
    }
    if (error)
        change_refuse_store(c, error);
    else
        apply(c);
}

static void read_account(struct change *c) {
    struct ask *a = c->ask;
    account_read_text(a->accounts->worker->redis, a->address.domain, slice_of(a->address.local), on_read, c);
}

static void make_account(struct change *c) {
    struct ask *a = c->ask;
    char user[ULID_BYTES], when[CLOCK_TEXT_BYTES], address[ADDRESS_BYTES_MAX];
    ulid_create(user);
    c->account = json_pack("{s:s,s:s,s:i,s:s,s:s}", "user", user, "address", address_text(&a->address, address),
                           "quota_bytes", 0, "created", clock_rfc3339(clock_wall_ms(), when), "password", "");
    apply(c);
}

static void hash_password(void *job) { /* on a pool thread */
    struct change *c = job;
    c->failed = credentials_create(ask_text(c->ask, "password"), &c->credentials) != 0;
}

static void password_hashed(void *job) {
    struct change *c = job;
    if (c->failed)
        change_refuse(c, "unavailable", "the password could not be hashed for lack of memory: try again");
    else if (c->creating)
        make_account(c);
    else
        read_account(c);
}

/* What is wrong with the request's fields; NULL: nothing. */
static const char *fields_problem(const struct ask *a) {
    const json_t *quota = json_object_get(a->body, "quota_bytes"), *password = json_object_get(a->body, "password");
    if (quota && (!json_is_integer(quota) || json_integer_value(quota) < 0))
        return "quota_bytes is a number of bytes, 0 for none";
    return password ? password_problem(password) : NULL;
}

static void change_account(void *ctx, struct bus_call *call, const json_t *body, bool creating) {
    struct ask *a = ask_create(ctx, call, body);
    if (!ask_take_address(a, "address")) return;
    const char *problem = fields_problem(a);
    if (problem) {
        ask_refuse(a, "invalid", problem);
        return;
    }
    struct change *c = memory_alloc(sizeof *c);
    c->ask = a;
    c->creating = creating;
    if (json_object_get(a->body, "password"))
        service_offload(a->accounts->worker, hash_password, password_hashed, c);
    else if (creating)
        make_account(c);
    else
        read_account(c);
}

static void on_add(void *ctx, struct bus_call *call, const json_t *body) { change_account(ctx, call, body, true); }
static void on_set(void *ctx, struct bus_call *call, const json_t *body) { change_account(ctx, call, body, false); }

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

static void on_domain(void *ctx, int error, const json_t *fields) {
    struct ask *a = ctx;
    (void)fields;
    if (error)
        ask_refuse_store(a, error, "domain");
    else
        ask_answer(a, ask_page(a, json_array(), "address", "accounts"));
}

static void on_all(void *ctx, int error, const json_t *all) {
    struct ask *a = ctx;
    if (error) {
        ask_refuse_store(a, error, "domain");
        return;
    }
    if (json_object_size(all) == 0) { /* a domain without accounts, or none */
        account_read_all(a->accounts->worker->redis, a->address.domain, "d", on_domain, a);
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
    const char *user = json_string_value(json_object_get(was, "user"));
    accounts_tell_account(a->accounts, a->address.domain, address_text(&a->address, address), user, "deleted", true);
    owed_do(a->accounts, a->address.domain, user, "delete", a, public_view(was));
}

static void on_marked(void *ctx, int error) {
    struct ask *a = ctx;
    if (error)
        ask_refuse_store(a, error, "account");
    else
        account_delete(a->accounts->worker->redis, a->address.domain, slice_of(a->address.local), on_deleted, a);
}

static void on_delete(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address")) account_owing_mark(a->accounts->worker->redis, a->address.domain, on_marked, a);
}

void users_start(struct accounts *s) {
    bus_serve(s->worker->bus, "account.add", on_add, s);
    bus_serve(s->worker->bus, "account.set", on_set, s);
    bus_serve(s->worker->bus, "account.get", on_get, s);
    bus_serve(s->worker->bus, "account.list", on_list, s);
    bus_serve(s->worker->bus, "account.delete", on_delete, s);
}
