/* accounts.account.record and accounts.account.adopt: an account as it is stored, with what is kept of its password,
 * for a backup, and an account made from such a record. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/ulid.h"
#include "services/accounts/accounts.h"

static void on_record(void *ctx, int error, const json_t *value) {
    struct ask *a = ctx;
    if (error)
        ask_refuse_store(a, error, "account");
    else
        ask_answer(a, json_pack("{s:O}", "record", value));
}

static void on_record_asked(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address"))
        account_read(a->accounts->worker->redis, a->address.domain, "u", slice_of(a->address.local), on_record, a);
}

/* An account that is being made; the ask has it as its data. */
struct adoption {
    char *text;     /* the account */
    char owed[400]; /* its quota, for the mailbox service; empty: none */
    char user[ULID_BYTES];
};

static json_t *reply_of(const struct ask *a) {
    const struct adoption *d = a->more;
    return json_pack("{s:s}", "user", d->user);
}

static void on_adopted(void *ctx, int error) {
    struct ask *a = ctx;
    struct adoption *d = a->more;
    char address[ADDRESS_BYTES_MAX];
    free(d->text);
    d->text = NULL;
    if (error) {
        ask_refuse_store(a, error, error == STORE_NOT_FOUND ? "domain" : "account");
        return;
    }
    accounts_tell_account(a->accounts, a->address.domain, address_text(&a->address, address), d->user, "created",
                          false);
    if (*d->owed)
        owed_do(a->accounts, a->address.domain, d->user, d->owed, a, reply_of(a));
    else
        ask_answer(a, reply_of(a));
}

static void write_adopted(void *ctx, int error) {
    struct ask *a = ctx;
    struct adoption *d = a->more;
    if (error)
        on_adopted(a, error);
    else
        account_add(a->accounts->worker->redis, a->address.domain, slice_of(a->address.local), slice_of(d->text),
                    d->user, *d->owed ? d->owed : NULL, on_adopted, a);
}

/* The account gets a user id of its own: the mailbox of the id in the record may have been deleted for good. */
static void on_adopt(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (!ask_take_address(a, "address")) return;
    const json_t *record = json_object_get(a->body, "record"), *quota = json_object_get(record, "quota_bytes");
    if (!json_is_string(json_object_get(record, "password")) || !json_is_string(json_object_get(record, "created")) ||
        !json_is_integer(quota) || json_integer_value(quota) < 0) {
        ask_refuse(a, "invalid", "this is not the record of an account");
        return;
    }
    struct adoption *d = memory_alloc(sizeof *d);
    char address[ADDRESS_BYTES_MAX];
    json_t *account = json_deep_copy(record);
    a->more = d;
    ulid_create(d->user);
    json_object_set_new(account, "user", json_string(d->user));
    json_object_set_new(account, "address", json_string(address_text(&a->address, address)));
    d->text = json_dumps(account, JSON_COMPACT);
    if (json_integer_value(quota))
        snprintf(d->owed, sizeof d->owed, "quota %lld %s", json_integer_value(quota), a->address.local);
    json_decref(account);
    if (*d->owed)
        account_owing_mark(a->accounts->worker->redis, a->address.domain, write_adopted, a);
    else
        write_adopted(a, 0);
}

void records_start(struct accounts *s) {
    bus_serve(s->worker->bus, "account.record", on_record_asked, s);
    bus_serve(s->worker->bus, "account.adopt", on_adopt, s);
}
