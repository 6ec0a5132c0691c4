/* accounts.alias.*: addresses that lead to others, here or elsewhere. "@domain" (no local part) is the catch-all. */
#include <stdlib.h>

#include "services/accounts/accounts.h"

/* The alias's own address; "@example.org" stands for all that nobody has. */
static bool take_alias(struct ask *a) {
    const char *text = ask_text(a, "address");
    if (text[0] != '@') return ask_take_address(a, "address");
    if (domain_normalise(slice_of(text + 1), a->address.domain) == 0) {
        memcpy(a->address.local, "*", 2);
        return true;
    }
    ask_refuse(a, "invalid", "the address is not of the form local@domain or @domain");
    return false;
}

static const char *alias_text(const char *local, const char *domain, char out[ADDRESS_BYTES_MAX]) {
    struct mail_address address;
    memcpy(address.local, strcmp(local, "*") == 0 ? "" : local, strlen(strcmp(local, "*") == 0 ? "" : local) + 1);
    memcpy(address.domain, domain, strlen(domain) + 1);
    return address_text(&address, out);
}

static void on_added(void *ctx, int error) {
    struct ask *a = ctx;
    char text[ADDRESS_BYTES_MAX];
    if (error) {
        ask_refuse_store(a, error, error == STORE_NOT_FOUND ? "domain" : "alias");
        return;
    }
    alias_text(a->address.local, a->address.domain, text);
    accounts_tell(a->accounts, a->address.domain, "alias", text, "created");
    ask_answer(a, json_pack("{s:s,s:O}", "address", text, "targets", json_object_get(a->body, "targets")));
}

static void on_add(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    json_t *targets = json_object_get(a->body, "targets"), *each, *normal = json_array();
    size_t i;
    struct mail_address target;
    char text[ADDRESS_BYTES_MAX];
    if (!take_alias(a)) {
        json_decref(normal);
        return;
    }
    json_array_foreach(targets, i, each) {
        if (!json_is_string(each) || address_normalise(slice_of(json_string_value(each)), &target) != 0) break;
        json_array_append_new(normal, json_string(address_text(&target, text)));
    }
    if (json_array_size(normal) == 0 || json_array_size(normal) != json_array_size(targets) ||
        json_array_size(targets) > ALIAS_TARGETS_MAX) {
        json_decref(normal);
        ask_refuse(a, "invalid", "targets is a list of 1 to 100 addresses of the form local@domain");
        return;
    }
    char *list = json_dumps(normal, JSON_COMPACT);
    struct slice args[] = {slice_of(a->address.local), slice_of(list)};
    account_change(a->accounts->worker->redis, "account_alias_set", a->address.domain, 2, args, on_added, a);
    json_object_set_new(a->body, "targets", normal);
    free(list);
}

static void on_all(void *ctx, int error, const json_t *all) {
    struct ask *a = ctx;
    char text[ADDRESS_BYTES_MAX];
    if (error) {
        ask_refuse_store(a, error, "domain");
        return;
    }
    json_t *aliases = json_array();
    for (void *at = json_object_iter((json_t *)(uintptr_t)all); at;
         at = json_object_iter_next((json_t *)(uintptr_t)all, at))
        json_array_append_new(aliases, json_pack("{s:s,s:O}", "address",
                                                 alias_text(json_object_iter_key(at), a->address.domain, text),
                                                 "targets", json_object_iter_value(at)));
    ask_answer(a, ask_page(a, aliases, "address", "aliases"));
}

static void on_list(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_domain(a, "domain")) account_read_all(a->accounts->worker->redis, a->address.domain, "a", on_all, a);
}

static void on_found(void *ctx, int error, const json_t *targets) {
    struct ask *a = ctx;
    char text[ADDRESS_BYTES_MAX];
    if (error)
        ask_refuse_store(a, error, "alias");
    else
        ask_answer(a, json_pack("{s:s,s:O}", "address", alias_text(a->address.local, a->address.domain, text),
                                "targets", targets));
}

static void on_get(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (take_alias(a))
        account_read(a->accounts->worker->redis, a->address.domain, "a", slice_of(a->address.local), on_found, a);
}

static void on_deleted(void *ctx, int error) {
    struct ask *a = ctx;
    char text[ADDRESS_BYTES_MAX];
    if (error) {
        ask_refuse_store(a, error, "alias");
        return;
    }
    accounts_tell(a->accounts, a->address.domain, "alias", alias_text(a->address.local, a->address.domain, text),
                  "deleted");
    ask_answer(a, json_object());
}

static void on_delete(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (!take_alias(a)) return;
    struct slice local = slice_of(a->address.local);
    account_change(a->accounts->worker->redis, "account_alias_delete", a->address.domain, 1, &local, on_deleted, a);
}

void aliases_start(struct accounts *s) {
    bus_serve(s->worker->bus, "alias.add", on_add, s);
    bus_serve(s->worker->bus, "alias.get", on_get, s);
    bus_serve(s->worker->bus, "alias.list", on_list, s);
    bus_serve(s->worker->bus, "alias.delete", on_delete, s);
}
