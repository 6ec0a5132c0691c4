/* accounts.resolve: whose mailbox an address is, aliases expanded; accounts.owns: whether a user may send as an
 * address. The expansion goes breadth first over a list of addresses that only grows, with bounds on its length and
 * depth, so a loop of aliases ends. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "services/accounts/accounts.h"

struct target {
    struct mail_address address;
    int depth;
};

struct expansion {
    struct ask *ask;
    void (*done)(struct expansion *x);
    struct target *targets;
    size_t count, next;
    json_t *users, *remote; /* results */
    bool first_unknown, first_remote;
};

static void expansion_step(struct expansion *x);

static void expansion_free(struct expansion *x) {
    json_decref(x->users);
    json_decref(x->remote);
    free(x->targets);
    free(x);
}

static bool target_add(struct expansion *x, const struct mail_address *address, int depth) {
    for (size_t i = 0; i < x->count; i++)
        if (strcmp(x->targets[i].address.local, address->local) == 0 &&
            strcmp(x->targets[i].address.domain, address->domain) == 0)
            return true; /* seen: a loop or a duplicate */
    if (x->count >= ALIAS_TARGETS_MAX || depth > ALIAS_DEPTH_MAX) return false;
    x->targets = memory_resize(x->targets, (x->count + 1) * sizeof *x->targets);
    x->targets[x->count++] = (struct target){*address, depth};
    return true;
}

static void user_add(struct expansion *x, const json_t *account) {
    size_t i;
    json_t *known;
    const char *user = json_string_value(json_object_get(account, "user"));
    json_array_foreach(x->users, i,
                       known) if (strcmp(json_string_value(json_object_get(known, "user")), user) == 0) return;
    json_array_append_new(x->users, json_pack("{s:s,s:s}", "user", user, "address",
                                              json_string_value(json_object_get(account, "address"))));
}

/* Whether the address is one of those that our own DNS records name for reports about a hosted domain: the reporter
 * gets what comes to it, whoever else does.
 */
static bool takes_reports(const struct mail_address *address) {
    struct slice rest = slice_of(config_text("POSTBUS_REPORT_ADDRESSES", "dmarc-reports,tls-reports")), one;
    for (bool more = true; more;) {
        more = slice_cut(&rest, ',', &one);
        if (!more) one = rest;
        if (slice_is_nocase(slice_trim(one), address->local)) return true;
    }
    return false;
}

static void reporter_add(struct expansion *x, const struct mail_address *address) {
    char text[ADDRESS_BYTES_MAX];
    json_t *reporter = json_pack("{s:s,s:s}", "user", "reporter", "address", address_text(address, text));
    user_add(x, reporter);
    json_decref(reporter);
}

static void on_resolved(void *ctx, int error, struct slice kind, struct slice name, const json_t *value) {
    struct expansion *x = ctx;
    struct target at = x->targets[x->next]; /* a copy: the list may move */
    if (error) {
        struct ask *a = x->ask;
        expansion_free(x);
        ask_refuse_store(a, error, "address");
        return;
    }
    bool reports = !slice_is(kind, "remote") && takes_reports(&at.address);
    if (reports) reporter_add(x, &at.address);
    if (reports && (slice_is(kind, "unknown") || slice_is(name, "*"))) {
        /* nobody else has the address; a catch-all is not meant to get the world's reports */
    } else if (slice_is(kind, "account")) {
        user_add(x, value);
    } else if (slice_is(kind, "remote")) {
        char text[ADDRESS_BYTES_MAX];
        if (x->next == 0)
            x->first_remote = true;
        else
            json_array_append_new(x->remote, json_string(address_text(&at.address, text)));
    } else if (slice_is(kind, "alias")) {
        size_t i;
        json_t *each;
        json_array_foreach((json_t *)(uintptr_t)value, i, each) {
            struct mail_address target;
            if (address_normalise(slice_of(json_string_value(each)), &target) != 0) continue;
            if (!target_add(x, &target, at.depth + 1))
                log_warn("an alias leads to too many addresses or too deep; the rest is left out", "alias",
                         at.address.local, "domain", at.address.domain, NULL);
        }
    } else if (x->next == 0) {
        x->first_unknown = true;
    } else {
        log_warn("an alias leads to an address that is not there", "address", at.address.local, "domain",
                 at.address.domain, NULL);
    }
    x->next++;
    expansion_step(x);
}

static void expansion_step(struct expansion *x) {
    if (x->next == x->count) {
        x->done(x);
        return;
    }
    const struct mail_address *address = &x->targets[x->next].address;
    account_resolve(x->ask->accounts->worker->redis, address->domain, slice_of(address->local), on_resolved, x);
}

static void expand(struct ask *a, void (*done)(struct expansion *x)) {
    struct expansion *x = memory_alloc(sizeof *x);
    x->ask = a;
    x->done = done;
    x->users = json_array();
    x->remote = json_array();
    target_add(x, &a->address, 0);
    expansion_step(x);
}

static void resolve_done(struct expansion *x) {
    struct ask *a = x->ask;
    json_t *reply;
    if (x->first_remote)
        reply = json_pack("{s:s}", "kind", "remote");
    else if (x->first_unknown || (json_array_size(x->users) == 0 && json_array_size(x->remote) == 0))
        reply = json_pack("{s:s}", "kind", "unknown");
    else
        reply = json_pack("{s:s,s:O,s:O}", "kind", "local", "users", x->users, "remote", x->remote);
    expansion_free(x);
    ask_answer(a, reply);
}

static void on_resolve(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address")) expand(a, resolve_done);
}

static void owns_done(struct expansion *x) {
    struct ask *a = x->ask;
    bool owns = false;
    size_t i;
    json_t *each;
    json_array_foreach(x->users, i, each) owns =
        owns || strcmp(json_string_value(json_object_get(each, "user")), ask_text(a, "user")) == 0;
    expansion_free(x);
    ask_answer(a, json_pack("{s:b}", "owns", owns));
}

static void on_owns(void *ctx, struct bus_call *call, const json_t *body) {
    struct ask *a = ask_create(ctx, call, body);
    if (ask_take_address(a, "address")) expand(a, owns_done);
}

void resolve_start(struct accounts *s) {
    bus_serve(s->worker->bus, "resolve", on_resolve, s);
    bus_serve(s->worker->bus, "owns", on_owns, s);
}
