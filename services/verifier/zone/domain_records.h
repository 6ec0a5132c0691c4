/* The records that a hosted domain should publish: made from its settings and keys, fetched from
 * accounts, and the site's settings. */
#ifndef POSTBUS_VERIFIER_DOMAIN_RECORDS_H
#define POSTBUS_VERIFIER_DOMAIN_RECORDS_H

#include "services/verifier/zone/records.h"

enum { DOMAIN_ASK_TIMEOUT_MS = 5000 };

struct domain_records {
    struct arena *arena;
    json_t *own; /* the domain's settings, which own the input's texts */
    struct domain_keys *keys;
    struct records_input input;
    size_t n;
    struct dns_record records[RECORDS_MAX];
};

/* records: owned by the callee, which destroys them on the loop; NULL with code "not_found" (the
 * domain is not hosted here) or "unavailable". */
typedef void domain_records_fn(void *ctx, struct domain_records *records, const char *code);
/* domain: A-labels. fresh: keys are not taken from the cache. done is called exactly once, never
 * before this returns. */
void domain_records_get(struct verifier *v, const char *domain, bool fresh, domain_records_fn *done, void *ctx);
void domain_records_destroy(struct domain_records *r); /* NULL is allowed */
/* The worker ends: waiting requests end with "unavailable". Before key_cache_destroy. */
void domain_records_stop(struct verifier *v);

#endif
