/* accounts.alias.*: addresses whose mail is sent on to others, here or at other sites. "@domain"
 * (no local part) is the catch-all. */
#include <stdlib.h>

#include "services/accounts/expand.h"

/* The alias's own address; "@example.org" is the catch-all. */
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

/* Whether it is written as an address is (RFC 5321 §4.1.2, RFC 6531 §3.3): a local part of other
 * characters must be quoted. "b@y,c@z" is no address of domain z. */
static bool is_written_as_address(struct slice text) {
    ptrdiff_t at = slice_find_last(text, '@');
    struct slice local = slice_head(text, at < 0 ? 0 : (size_t)at);
    if (local.n > 1 && local.p[0] == '"' && local.p[local.n - 1] == '"') return true;
    for (size_t i = 0; i < local.n; i++) {
        unsigned char c = (unsigned char)local.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
        if (!letter && (!c || !strchr("!#$%&'*+-/=?^_`{|}~.", c))) return false;
    }
    return local.n > 0;
}

static void on_expanded(struct expansion *x) {
    struct ask *a = x->ask;
    struct buf problem = {0};
    if (x->to_itself)
        buf_add_str(&problem, "an alias cannot lead to itself");
    else if (*x->missing)
        buf_printf(&problem, "nobody here has the address %s: add its account first", x->missing);
    else if (x->problem)
        buf_add_str(&problem, x->problem);
    else if (json_array_size(x->users) == 0 && json_array_size(x->remote) == 0)
        buf_add_str(&problem, "the alias would lead to nobody: its targets lead back to it");
    expansion_free(x);
    if (problem.n) {
        ask_refuse(a, "invalid", buf_str(&problem));
    } else {
        char *list = json_dumps(json_object_get(a->body, "targets"), JSON_COMPACT);
        account_alias_set(a->accounts->worker->redis, a->address.domain, a->address.local, list, on_added, a);
        free(list);
    }
    buf_free(&problem);
}

static void on_domain(void *ctx, int error, const json_t *fields) {
    struct ask *a = ctx;
    (void)fields;
    if (error)
        ask_refuse_store(a, error, "domain");
    else
        expand_alias(a, json_object_get(a->body, "targets"), on_expanded);
}

static void on_add(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    json_t *targets = json_object_get(a->body, "targets"), *each, *normal;
    size_t i;
    struct mail_address target;
    char text[ADDRESS_BYTES_MAX];
    if (!take_alias(a)) return;
    if (!json_is_array(targets) || json_array_size(targets) == 0 || json_array_size(targets) > ALIAS_TARGETS_MAX) {
        ask_refuse(a, "invalid", "targets is a list of 1 to 500 addresses of the form local@domain");
        return;
    }
    normal = json_array();
    json_array_foreach(targets, i, each) {
        struct slice one = slice_of(json_string_value(each));
        if (!is_written_as_address(one) || address_normalise(one, &target) != 0) {
            struct buf problem = {0};
            if (one.n && one.n < 200)
                buf_printf(&problem, "the target %.*s is not an address of the form local@domain", SLICE_FMT(one));
            else
                buf_printf(&problem, "target number %zu is not an address of the form local@domain", i + 1);
            ask_refuse(a, "invalid", buf_str(&problem));
            buf_free(&problem);
            json_decref(normal);
            return;
        }
        json_array_append_new(normal, json_string(address_text(&target, text)));
    }
    json_object_set_new(a->body, "targets", normal);
    account_read_all(a->accounts->worker->redis, a->address.domain, "d", on_domain, a);
}

static void on_listed_domain(void *ctx, int error, const json_t *fields) {
    struct ask *a = ctx;
    (void)fields;
    if (error)
        ask_refuse_store(a, error, "domain");
    else
        ask_answer(a, ask_page(a, json_array(), "address", "aliases"));
}

static void on_all(void *ctx, int error, const json_t *all) {
    struct ask *a = ctx;
    char text[ADDRESS_BYTES_MAX];
    if (error) {
        ask_refuse_store(a, error, "domain");
        return;
    }
    if (json_object_size(all) == 0) { /* a domain without aliases, or none */
        account_read_all(a->accounts->worker->redis, a->address.domain, "d", on_listed_domain, a);
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
    if (take_alias(a))
        account_alias_delete(a->accounts->worker->redis, a->address.domain, a->address.local, on_deleted, a);
}

void aliases_start(struct accounts *s) {
    bus_serve(s->worker->bus, "alias.add", on_add, s);
    bus_serve(s->worker->bus, "alias.get", on_get, s);
    bus_serve(s->worker->bus, "alias.list", on_list, s);
    bus_serve(s->worker->bus, "alias.delete", on_delete, s);
}
