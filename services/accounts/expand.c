#include "services/accounts/expand.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"

/* One call's addresses: a run of one domain in the list. */
struct call {
    struct expansion *expansion;
    size_t start;
};

void expansion_free(struct expansion *x) {
    json_decref(x->users);
    json_decref(x->remote);
    json_decref(x->seen);
    json_decref(x->seen_users);
    free(x->targets);
    free(x);
}

static void target_add(struct expansion *x, const struct mail_address *address, int depth) {
    char text[ADDRESS_BYTES_MAX];
    address_text(address, text);
    if (json_object_get(x->seen, text)) return; /* a loop or a duplicate */
    if (depth > ALIAS_DEPTH_MAX) {
        x->problem = "the alias leads through more than 10 others";
        return;
    }
    if (x->count >= ALIAS_ADDRESSES_MAX) {
        x->problem = "the alias leads to more than 1000 addresses";
        return;
    }
    json_object_set_new(x->seen, text, json_true());
    if ((x->count & (x->count - 1)) == 0)
        x->targets = memory_resize(x->targets, (x->count ? x->count * 2 : 1) * sizeof *x->targets);
    x->targets[x->count++] = (struct target){*address, depth};
}

static void targets_add(struct expansion *x, const json_t *list, int depth) {
    size_t i;
    json_t *each;
    struct mail_address target;
    json_array_foreach((json_t *)(uintptr_t)list, i,
                       each) if (address_normalise(slice_of(json_string_value(each)), &target) == 0)
        target_add(x, &target, depth);
}

static void user_add(struct expansion *x, const char *user, const char *address) {
    if (json_object_get(x->seen_users, user)) return;
    json_object_set_new(x->seen_users, user, json_true());
    json_array_append_new(x->users, json_pack("{s:s,s:s}", "user", user, "address", address));
}

/* Whether the address is one of those in our DNS records for reports about a hosted domain: the
 * reporter gets its mail, beside other recipients. */
static bool takes_reports(const struct mail_address *address) {
    struct slice rest = slice_of(config_text("POSTBUS_REPORT_ADDRESSES", "dmarc-reports,tls-reports")), one;
    for (bool more = true; more;) {
        more = slice_cut(&rest, ',', &one);
        if (!more) one = rest;
        if (slice_is_nocase(slice_trim(one), address->local)) return true;
    }
    return false;
}

static void nobody(struct expansion *x, const struct target *at) {
    if (at->depth == 0) {
        x->first_unknown = true;
    } else if (x->defining && at->depth == 1) {
        address_text(&at->address, x->missing);
    } else {
        log_warn("an alias leads to an address that is not there", "address", at->address.local, "domain",
                 at->address.domain, NULL);
    }
}

static void alias(struct expansion *x, const struct target *at, struct slice name, const json_t *targets) {
    const struct mail_address *self = &x->ask->address;
    /* The analyzer takes these arrays for pointers that may be NULL. */
    bool same_domain = strcmp(at->address.domain, self->domain) == 0; // NOLINT(clang-analyzer-core.NonNullParamChecker)
    if (x->defining && slice_is(name, self->local) && same_domain) {
        x->to_itself = x->to_itself || at->depth == 1; /* its targets are in the list already */
        return;
    }
    targets_add(x, targets, at->depth + 1);
}

static void take(struct expansion *x, size_t index, struct slice kind, struct slice name, const json_t *value) {
    struct target at = x->targets[index]; /* a copy: the list may move */
    char text[ADDRESS_BYTES_MAX];
    bool reports = !slice_is(kind, "remote") && takes_reports(&at.address);
    address_text(&at.address, text);
    if (reports) user_add(x, "reporter", text);
    if (reports && (slice_is(kind, "unknown") || slice_is(name, "*")))
        return; /* the address has no account or alias; a catch-all does not get reports */
    if (slice_is(kind, "account"))
        user_add(x, json_string_value(json_object_get(value, "user")),
                 json_string_value(json_object_get(value, "address")));
    else if (slice_is(kind, "alias"))
        alias(x, &at, name, value);
    else if (slice_is(kind, "unknown"))
        nobody(x, &at);
    else if (at.depth == 0)
        x->first_remote = true;
    else
        json_array_append_new(x->remote, json_string(text));
}

static void next_level(struct expansion *x);

static void on_resolved(void *ctx, int error, size_t i, struct slice kind, struct slice name, const json_t *value) {
    struct call *c = ctx;
    struct expansion *x = c->expansion;
    if (kind.n) {
        take(x, c->start + i, kind, name, value);
        return;
    }
    if (error) x->error = error;
    free(c);
    if (--x->calls == 0) next_level(x);
}

static int by_domain(const void *a, const void *b) {
    return strcmp(((const struct target *)a)->address.domain, ((const struct target *)b)->address.domain);
}

static void next_level(struct expansion *x) {
    struct slice *locals;
    size_t start = x->level, end = x->count, first = start;
    if (x->error) {
        struct ask *a = x->ask;
        int error = x->error;
        expansion_free(x);
        ask_refuse_store(a, error, "address");
        return;
    }
    if (start == end || x->problem) {
        x->done(x);
        return;
    }
    qsort(x->targets + start, end - start, sizeof *x->targets, by_domain);
    locals = memory_alloc((end - start) * sizeof *locals);
    for (size_t i = start; i < end; i++) locals[i - start] = slice_of(x->targets[i].address.local);
    x->level = end;
    x->calls = 1; /* until all requests have been sent */
    for (size_t next; start < end; start = next) {
        const char *domain = x->targets[start].address.domain;
        for (next = start + 1; next < end && strcmp(x->targets[next].address.domain, domain) == 0;) next++;
        struct call *c = memory_alloc(sizeof *c);
        *c = (struct call){x, start};
        x->calls++;
        account_resolve(x->ask->accounts->worker->redis, domain, next - start, locals + (start - first), on_resolved,
                        c);
    }
    x->calls--;
    free(locals);
}

static struct expansion *create(struct ask *a, expansion_fn *done) {
    struct expansion *x = memory_alloc(sizeof *x);
    x->ask = a;
    x->done = done;
    x->users = json_array();
    x->remote = json_array();
    x->seen = json_object();
    x->seen_users = json_object();
    return x;
}

void expand(struct ask *a, expansion_fn *done) {
    struct expansion *x = create(a, done);
    target_add(x, &a->address, 0);
    next_level(x);
}

void expand_alias(struct ask *a, const json_t *targets, expansion_fn *done) {
    struct expansion *x = create(a, done);
    x->defining = true;
    targets_add(x, targets, 1);
    for (size_t i = 0; i < x->count; i++)
        x->to_itself = x->to_itself || (strcmp(x->targets[i].address.local, a->address.local) == 0 &&
                                        strcmp(x->targets[i].address.domain, a->address.domain) == 0);
    next_level(x);
}
