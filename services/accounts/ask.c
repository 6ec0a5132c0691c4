#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "services/accounts/accounts.h"

struct ask *ask_create(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = memory_alloc(sizeof *a);
    a->accounts = ctx;
    a->accounts->asks++;
    a->call = call;
    a->body = json_deep_copy(body);
    return a;
}

static void ask_free(struct ask *a) {
    if (--a->accounts->asks == 0 && service_is_draining()) service_drained(a->accounts->worker);
    json_decref(a->body);
    free(a->more);
    free(a);
}

void ask_answer(struct ask *a, json_t *reply) {
    bus_answer(a->call, reply);
    ask_free(a);
}

void ask_answer_text(struct ask *a, struct slice reply) {
    bus_answer_text(a->call, reply);
    ask_free(a);
}

void ask_refuse(struct ask *a, const char *code, const char *message) {
    bus_refuse(a->call, code, message);
    ask_free(a);
}

void ask_refuse_store(struct ask *a, int error, const char *what) {
    struct buf text = {0};
    const char *code = "unavailable";
    switch (error) {
    case STORE_NOT_FOUND:
        code = "not_found";
        buf_printf(&text, "there is no such %s", what);
        if (strcmp(what, "domain") == 0) buf_printf(&text, ": postbus domain add %s", a->address.domain);
        break;
    case STORE_EXISTS:
        code = "exists";
        buf_printf(&text, "this %s is there already, or its address is taken", what);
        break;
    case STORE_CONFLICT:
        code = "exists";
        buf_printf(&text, "the %s is still in use: delete its accounts first, or force it", what);
        break;
    case STORE_INVALID:
        code = "invalid";
        buf_printf(&text, "the %s is not valid", what);
        break;
    case STORE_FULL: buf_add_str(&text, "the store is full: nothing can be written until there is room"); break;
    default: buf_add_str(&text, "the store cannot be reached: try again"); break;
    }
    ask_refuse(a, code, buf_str(&text));
    buf_free(&text);
}

const char *ask_text(const struct ask *a, const char *field) {
    const char *text = json_string_value(json_object_get(a->body, field));
    return text ? text : "";
}

bool ask_set_address(struct ask *a, struct slice address) {
    if (address_normalise(address, &a->address) == 0) return true;
    ask_refuse(a, "invalid", "the address is not of the form local@domain");
    return false;
}

bool ask_take_address(struct ask *a, const char *field) { return ask_set_address(a, slice_of(ask_text(a, field))); }

bool ask_take_domain(struct ask *a, const char *field) {
    if (domain_normalise(slice_of(ask_text(a, field)), a->address.domain) == 0) return true;
    ask_refuse(a, "invalid", "the domain is not a valid domain name");
    return false;
}

void accounts_tell(struct accounts *s, const char *domain, const char *what, const char *name, const char *change) {
    bus_publish(s->worker->bus, "account.changed", slice_of(domain),
                json_pack("{s:s,s:s,s:s,s:s}", "domain", domain, "what", what, "name", name, "change", change));
}

void accounts_tell_account(struct accounts *s, const char *domain, const char *address, const char *user,
                           const char *change, bool sessions_end) {
    json_t *data = json_pack("{s:s,s:s,s:s,s:s,s:s}", "domain", domain, "what", "account", "name", address, "change",
                             change, "user", user);
    if (sessions_end) json_object_set_new(data, "sessions", json_string("end"));
    bus_publish(s->worker->bus, "account.changed", slice_of(domain), data);
}

struct sortable {
    const char *key;
    json_t *item;
};

static int by_key(const void *x, const void *y) {
    return strcmp(((const struct sortable *)x)->key, ((const struct sortable *)y)->key);
}

json_t *ask_page(const struct ask *a, json_t *items, const char *by, const char *field) {
    json_int_t wanted = json_integer_value(json_object_get(a->body, "limit"));
    size_t limit = wanted > 0 && wanted < LIST_MAX ? (size_t)wanted : LIST_MAX, n = 0, bytes = 0, i;
    struct sortable *sorted = memory_alloc((json_array_size(items) + 1) * sizeof *sorted);
    json_t *page = json_array(), *next = json_null(), *item;
    json_array_foreach(items, i, item) {
        const char *key = json_string_value(json_is_string(item) ? item : json_object_get(item, by));
        if (key && strcmp(key, ask_text(a, "after")) > 0) sorted[n++] = (struct sortable){key, item};
    }
    qsort(sorted, n, sizeof *sorted, by_key);
    for (i = 0; i < n && i < limit && (i == 0 || bytes < LIST_BYTES_MAX); i++) {
        json_array_append(page, sorted[i].item);
        bytes += json_dumpb(sorted[i].item, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    }
    if (n > i) next = json_string(sorted[i - 1].key);
    free(sorted);
    json_decref(items);
    return json_pack("{s:o,s:o}", field, page, "next", next);
}
