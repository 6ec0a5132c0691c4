/* MTA-STS policies of other domains (RFC 8461): discovery, fetching and storing for their max_age.
 * They are stored in Redis, which replicas share and which survives restarts, and for a while in
 * the worker's memory, which is used when Redis is not available. */
#ifndef POSTBUS_VERIFIER_STS_H
#define POSTBUS_VERIFIER_STS_H

#include "services/verifier/verifier.h"

struct sts_cache *sts_cache_create(struct verifier *v);
/* Waiting requests end first, without a policy. */
void sts_cache_destroy(struct sts_cache *c);

struct sts_finding {
    json_t *policy;              /* {"mode":"enforce"|"testing"|"none","mx":["*.example.com",…],"max_age":seconds};
                                    NULL: the domain has none. Owned by the finder. */
    const char *result, *reason; /* the reason why the announced policy could not be fetched:
                                    "sts-policy-fetch-error", "sts-policy-invalid" or
                                    "sts-webpki-invalid" (RFC 8460 §4.3.2.2), and in words; NULL:
                                    nothing failed. An older policy may still apply. */
    const char *unknown;         /* the reason why the domain's demand is unknown and no older
                                    policy applies; NULL: it is known */
    bool bogus;                  /* if unknown: DNSSEC validation of the announcement failed */
};

typedef void sts_fn(void *ctx, const struct sts_finding *found);
/* Finds the policy of domain (A-labels). done is called exactly once, never before this returns. */
void sts_find(struct sts_cache *c, struct slice domain, sts_fn *done, void *ctx);

#endif
