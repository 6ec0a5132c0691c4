/* accounts.logins: which of these logins are void, because the account's password was changed since
 * or the account was deleted. A login is known by the user's id and by the generation of the
 * password: a new one is made whenever a password is set. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "services/accounts/accounts.h"

struct logins {
    struct ask *ask;
    struct arena *arena;
    const json_t *list; /* of the ask */
    size_t count, calls;
    struct mail_address *addresses;
    bool *valid;
    int error;
};

/* One call: a run of addresses of one domain. */
struct call {
    struct logins *logins;
    size_t start;
};

static bool is_of(const json_t *login, const char *field, const json_t *account, const char *account_field) {
    const char *one = json_string_value(json_object_get(login, field)),
               *other = json_string_value(json_object_get(account, account_field));
    return strcmp(one ? one : "", other ? other : "") == 0;
}

static void step(struct logins *l) {
    if (--l->calls) return;
    struct ask *a = l->ask;
    json_t *ended = json_array();
    for (size_t i = 0; i < l->count; i++)
        if (!l->valid[i]) json_array_append_new(ended, json_integer((json_int_t)i));
    int error = l->error;
    arena_destroy(l->arena);
    if (error) {
        json_decref(ended);
        ask_refuse_store(a, error, "account");
    } else {
        ask_answer(a, json_pack("{s:o}", "ended", ended));
    }
}

static void on_resolved(void *ctx, int error, size_t i, struct slice kind, struct slice name, const json_t *value) {
    const struct call *c = ctx;
    struct logins *l = c->logins;
    (void)name;
    if (kind.n == 0) { /* the end */
        if (error) l->error = error;
        step(l);
        return;
    }
    const json_t *login = json_array_get(l->list, c->start + i);
    l->valid[c->start + i] = slice_is(kind, "account") && is_of(login, "user", value, "user") &&
                             is_of(login, "generation", value, "generation");
}

static void look_up(struct logins *l) {
    struct slice *locals = arena_alloc(l->arena, (l->count + 1) * sizeof *locals);
    for (size_t i = 0; i < l->count; i++) locals[i] = slice_of(l->addresses[i].local);
    l->calls = 1;
    for (size_t start = 0, next; start < l->count; start = next) {
        const char *domain = l->addresses[start].domain;
        for (next = start + 1; next < l->count && strcmp(l->addresses[next].domain, domain) == 0;) next++;
        struct call *c = arena_alloc(l->arena, sizeof *c);
        *c = (struct call){l, start};
        l->calls++;
        account_resolve(l->ask->accounts->worker->redis, domain, next - start, locals + start, on_resolved, c);
    }
    step(l);
}

static void on_logins(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    const json_t *list = json_object_get(a->body, "logins"), *one;
    size_t count = json_array_size(list), i;
    if (!json_is_array(list) || count > LOGINS_MAX) {
        ask_refuse(a, "invalid", "logins is a list of at most 200 logins");
        return;
    }
    struct arena *arena = arena_create();
    struct logins *l = arena_alloc(arena, sizeof *l);
    *l = (struct logins){.ask = a, .arena = arena, .list = list, .count = count};
    l->addresses = arena_alloc(arena, (count + 1) * sizeof *l->addresses);
    l->valid = arena_alloc(arena, (count + 1) * sizeof *l->valid);
    json_array_foreach((json_t *)(uintptr_t)list, i, one) {
        if (address_normalise(slice_of(json_string_value(json_object_get(one, "address"))), &l->addresses[i]) == 0)
            continue;
        arena_destroy(arena);
        ask_refuse(a, "invalid", "an address is not of the form local@domain");
        return;
    }
    look_up(l);
}

void logins_start(struct accounts *s) { bus_serve(s->worker->bus, "logins", on_logins, s); }
