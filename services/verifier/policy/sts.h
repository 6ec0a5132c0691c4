/* MTA-STS policies of other domains (RFC 8461): found, fetched, kept for their max_age. Kept in Redis, so that replicas
 * and restarts share them, and for a while in the worker, which also has them when Redis cannot be asked. */
#ifndef POSTBUS_VERIFIER_STS_H
#define POSTBUS_VERIFIER_STS_H

#include "services/verifier/verifier.h"

struct sts_cache *sts_cache_create(struct verifier *v);
/* Waiting requests end first, without a policy. */
void sts_cache_destroy(struct sts_cache *c);

struct sts_finding {
    json_t *policy; /* {"mode":"enforce"|"testing"|"none","mx":["*.example.com",…],"max_age":seconds}; NULL: the domain
                       has none. The finder's. */
    const char *result,
        *reason; /* why the policy that the domain announces now cannot be had: "sts-policy-fetch-error",
                    "sts-policy-invalid" or "sts-webpki-invalid" (RFC 8460 §4.3.2.2), and in words; NULL: nothing
                    failed. An older policy may hold meanwhile. */
    const char *
        unknown; /* why it cannot be known now what the domain asks for, and no older policy holds; NULL: it is known */
    bool bogus;  /* of unknown: DNSSEC says that the announcement is forged */
};

typedef void sts_fn(void *ctx, const struct sts_finding *found);
/* Finds the policy of domain (A-labels). done comes exactly once, never before this returns. */
void sts_find(struct sts_cache *c, struct slice domain, sts_fn *done, void *ctx);

#endif
