/* The last result of each domain, noted in the store (NOTE_CHECK): {"result":…,
 * "broken":true|false, "faults":["<name> <type>",…]}, and the events when it changes. A check in
 * which DNS did not answer a query reports neither a corrected fault nor a new one. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/store/domain_note.h"
#include "services/verifier/check/check.h"

enum { KEPT_MS = 604800000 };

struct keeping {
    struct verifier *verifier;
    json_t *result;
};

struct reading {
    check_kept_fn *done;
    void *ctx;
};

static bool has_text(const json_t *list, const char *text) {
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one) if (strcmp(json_string_value(one), text) == 0) return true;
    return false;
}

/* The faults of a result: their keys, and their descriptions for the event. */
static void read_faults(const json_t *result, json_t *keys, json_t *news) {
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(result, "findings"), i, f) {
        if (!json_is_true(json_object_get(f, "fault"))) continue;
        json_t *name = json_object_get(f, "name"), *type = json_object_get(f, "type");
        json_array_append_new(keys, json_sprintf("%s %s", json_string_value(name), json_string_value(type)));
        json_array_append_new(news, json_pack("{s:O,s:O,s:O,s:O}", "name", name, "type", type, "state",
                                              json_object_get(f, "state"), "say", json_object_get(f, "say")));
    }
}

static void tell_broken(struct verifier *v, const char *domain, json_t *news) {
    size_t i;
    const json_t *one;
    json_array_foreach(news, i, one) log_warn("a DNS record of a domain is not right", "domain", domain, "name",
                                              json_string_value(json_object_get(one, "name")), "type",
                                              json_string_value(json_object_get(one, "type")), "state",
                                              json_string_value(json_object_get(one, "state")), "reason",
                                              json_string_value(json_object_get(one, "say")), NULL);
    bus_publish(v->worker->bus, "dns.broken", slice_of(domain),
                json_pack("{s:s,s:O}", "domain", domain, "faults", news));
}

static void on_previous(void *ctx, int error, struct slice text) {
    struct keeping *k = ctx;
    if (!error || error == STORE_NOT_FOUND) {
        struct verifier *v = k->verifier;
        const char *domain = json_string_value(json_object_get(k->result, "domain"));
        json_t *previous = json_loadb(text.p, text.n, 0, NULL), *keys = json_array(), *news = json_array(), *one;
        bool was_broken = json_is_true(json_object_get(previous, "broken")), broken = was_broken, any_new = false;
        size_t i;
        read_faults(k->result, keys, news);
        if (json_array_size(keys)) {
            json_array_foreach(keys, i, one) any_new =
                any_new || !was_broken || !has_text(json_object_get(previous, "faults"), json_string_value(one));
            broken = true;
            if (any_new) tell_broken(v, domain, news);
        } else if (json_is_true(json_object_get(k->result, "ok"))) {
            broken = false;
            if (was_broken) {
                log_info("all DNS records of a domain are right again", "domain", domain, NULL);
                bus_publish(v->worker->bus, "dns.mended", slice_of(domain), json_pack("{s:s}", "domain", domain));
            }
        } else { /* DNS did not answer: previous faults remain */
            json_decref(keys);
            keys = json_incref(json_object_get(previous, "faults"));
            if (!keys) keys = json_array();
        }
        json_t *kept = json_pack("{s:O,s:b,s:O}", "result", k->result, "broken", (int)broken, "faults", keys);
        char *out = json_dumps(kept, JSON_COMPACT);
        domain_note_write(v->worker->redis, NOTE_CHECK, domain, slice_of(out), KEPT_MS, NULL, NULL);
        free(out);
        json_decref(kept);
        json_decref(keys);
        json_decref(news);
        json_decref(previous);
    } /* otherwise the store is not available or the worker ends; the next check will publish the
         event */
    json_decref(k->result);
    free(k);
}

void check_keep(struct verifier *v, const json_t *result) {
    struct keeping *k = memory_alloc(sizeof *k);
    const char *domain = json_string_value(json_object_get(result, "domain"));
    k->verifier = v;
    k->result = json_incref((json_t *)(uintptr_t)result);
    domain_note_read(v->worker->redis, NOTE_CHECK, domain, on_previous, k);
}

static void on_kept(void *ctx, int error, struct slice text) {
    struct reading *r = ctx;
    (void)error; /* the text is empty then */
    json_t *kept = json_loadb(text.p, text.n, 0, NULL);
    r->done(r->ctx, json_object_get(kept, "result"));
    json_decref(kept);
    free(r);
}

void check_kept(struct verifier *v, const char *domain, check_kept_fn *done, void *ctx) {
    struct reading *r = memory_alloc(sizeof *r);
    r->done = done, r->ctx = ctx;
    domain_note_read(v->worker->redis, NOTE_CHECK, domain, on_kept, r);
}
