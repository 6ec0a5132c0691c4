#include "services/verifier/zone/domain_records.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/mail/domain.h"

/* The requests for one domain: first accounts.domain.get, then its keys. */
struct domain_ask {
    struct verifier *verifier;
    struct domain_ask *next;
    uint64_t ticket; /* of accounts.domain.get; 0: waiting for the keys */
    char domain[DOMAIN_BYTES];
    json_t *own;
    domain_records_fn *done;
    void *ctx;
};

/* It is no longer in a list. */
static void end(struct domain_ask *a, struct domain_records *r, const char *code) {
    a->done(a->ctx, r, code);
    json_decref(a->own);
    free(a);
}

static void finish(struct domain_ask *a, struct domain_records *r, const char *code) {
    struct domain_ask **place = &a->verifier->domain_asks;
    while (*place != a) place = &(*place)->next;
    *place = a->next;
    end(a, r, code);
}

static void on_keys(void *ctx, struct domain_keys *keys, const char *code) {
    struct domain_ask *a = ctx;
    if (!keys && strcmp(code, "unavailable") == 0) {
        finish(a, NULL, code);
        return;
    }
    struct domain_records *r = memory_alloc(sizeof *r);
    r->arena = arena_create();
    r->own = json_incref(a->own);
    r->keys = keys ? domain_keys_hold(keys) : NULL;
    r->input.domain = arena_copy(r->arena, slice_of(a->domain));
    r->input.keys = keys;
    records_settings(r->arena, a->verifier, r->own, &r->input);
    r->n = records_make(r->arena, &r->input, r->records);
    finish(a, r, "");
}

static void on_domain(void *ctx, int error, const json_t *reply) {
    struct domain_ask *a = ctx;
    a->ticket = 0;
    if (error) {
        finish(a, NULL,
               error == BUS_REFUSED && strcmp(bus_error_code(reply), "not_found") == 0 ? "not_found" : "unavailable");
        return;
    }
    a->own = json_deep_copy(json_object_get(reply, "dns"));
    key_cache_get(a->verifier->keys, slice_of(a->domain), on_keys, a);
}

void domain_records_get(struct verifier *v, const char *domain, bool fresh, domain_records_fn *done, void *ctx) {
    struct domain_ask *a = memory_alloc(sizeof *a);
    a->verifier = v;
    a->done = done, a->ctx = ctx;
    memcpy(a->domain, domain, strnlen(domain, DOMAIN_BYTES - 1));
    a->next = v->domain_asks;
    v->domain_asks = a;
    if (fresh) key_cache_drop(v->keys, slice_of(domain));
    a->ticket = bus_request(v->worker->bus, "accounts.domain.get", json_pack("{s:s}", "domain", a->domain),
                            DOMAIN_ASK_TIMEOUT_MS, on_domain, a);
}

void domain_records_destroy(struct domain_records *r) {
    if (!r) return;
    domain_keys_release(r->keys);
    arena_destroy(r->arena);
    json_decref(r->own);
    free(r);
}

void domain_records_stop(struct verifier *v) {
    struct domain_ask **place = &v->domain_asks;
    while (*place) {
        struct domain_ask *a = *place;
        if (!a->ticket) { /* the key cache calls those that wait for keys */
            place = &a->next;
            continue;
        }
        *place = a->next;
        bus_cancel(v->worker->bus, a->ticket);
        end(a, NULL, "unavailable");
    }
}
