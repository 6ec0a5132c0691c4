/* MTA-STS policies of other domains (RFC 8461): found, fetched, kept for their max_age. Kept in Redis, so that replicas and restarts share them, and in the
 * worker. */
#ifndef POSTBUS_VERIFIER_STS_H
#define POSTBUS_VERIFIER_STS_H

#include "services/verifier/verifier.h"

struct sts_cache *sts_cache_create(struct verifier *v);
/* Waiting requests end first, without a policy. */
void sts_cache_destroy(struct sts_cache *c);

/* policy: {"mode":"enforce"|"testing"|"none","mx":["*.example.com",…]}, NULL when the domain has none; a reference for the callee, who drops it. */
typedef void sts_fn(void *ctx, json_t *policy);
/* Finds the policy of domain (A-labels). done comes exactly once, never before this returns. */
void sts_find(struct sts_cache *c, struct slice domain, sts_fn *done, void *ctx);

#endif
