/* verifier.dns.check: the check of a hosted domain's DNS from outside; the last result, or a new
 * one. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "services/verifier/check/check.h"

struct request {
    struct verifier *verifier;
    struct bus_call *call;
    char domain[DOMAIN_BYTES];
};

static void end(struct request *q) {
    verifier_end(q->verifier);
    free(q);
}

static void on_checked(void *ctx, json_t *result, const char *code) {
    struct request *q = ctx;
    if (!result) {
        bool none = strcmp(code, "not_found") == 0, busy = strcmp(code, "busy") == 0;
        bus_refuse(q->call, code,
                   none   ? "there is no such domain here"
                   : busy ? "too many checks at a time"
                          : "the domain cannot be checked now");
    } else {
        check_keep(q->verifier, result);
        bus_answer(q->call, result);
    }
    end(q);
}

static void on_kept(void *ctx, const json_t *kept) {
    struct request *q = ctx;
    if (!kept) {
        check_run(q->verifier, q->domain, on_checked, q);
        return;
    }
    bus_answer(q->call, json_deep_copy(kept));
    end(q);
}

static void on_ask(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *v = ctx;
    char domain[DOMAIN_BYTES];
    if (domain_normalise(member_slice(ask, "domain"), domain)) {
        bus_refuse(call, "invalid", "not a domain name");
        return;
    }
    if (!verifier_begin(v, call)) return;
    struct request *q = memory_alloc(sizeof *q);
    q->verifier = v;
    q->call = call;
    memcpy(q->domain, domain, sizeof domain);
    if (json_is_true(json_object_get(ask, "fresh")))
        check_run(v, q->domain, on_checked, q);
    else
        check_kept(v, q->domain, on_kept, q);
}

void check_serve(struct verifier *v) { bus_serve(v->worker->bus, "dns.check", on_ask, v); }
