/* The validating resolver of one worker: libunbound on the worker's own loop (DNSSEC, query name minimisation, 0x20),
 * in front of it a small cache of parsed answers, so that what was asked before costs a hash lookup. Identical
 * questions in flight are asked once. Each worker has its own (workers share nothing): a name costs a process at most
 * as many questions as it has workers, four as a rule, for which a cache with a lock around it would be dear.
 *
 * A question ends within RESOLVER_TIMEOUT_MS: SERVFAIL, silence and bogus signatures are all ANSWER_FAILED, bogus ones
 * with ANSWER_BOGUS and the reason. */
#ifndef POSTBUS_VERIFIER_RESOLVER_H
#define POSTBUS_VERIFIER_RESOLVER_H

#include <event2/event.h>

#include "services/verifier/dns/answer.h"

struct resolver;

enum {
    RESOLVER_TIMEOUT_MS = 10000,
    RESOLVER_IN_FLIGHT_MAX = 2048, /* questions; one more fails at once */
    RESOLVER_DOMAIN_MAX =
        256, /* of these about one registered domain: one whose servers are silent leaves room for the others */
    RESOLVER_CACHE_ENTRIES_MAX = 8192, /* answers */
    RESOLVER_TTL_MAX = 3600,           /* seconds in our cache */
    RESOLVER_FAILED_TTL = 5,           /* seconds for which a failure is believed */
};

struct resolver_settings {
    const char *forward;      /* "addr[@port],…" or "": recursion from the root */
    const char *stubs;        /* "zone=addr[@port],addr…,zone=…": authoritative servers to ask for these zones; or "" */
    const char *trust_anchor; /* files of DS or DNSKEY records, parted by commas; "": the root's */
};

/* Reads the settings once, at start-up; names of servers are looked up in the system's way. NULL, after logging why,
 * when they make no sense. */
struct resolver *resolver_create(struct event_base *base, const struct resolver_settings *settings);
/* Every waiting question fails first. */
void resolver_destroy(struct resolver *r);

/* answer: valid during the call. */
typedef void resolver_fn(void *ctx, const struct answer *answer);

/* The answer known already, valid until the loop turns; NULL when it has to be asked. name: A-labels, with or without
 * the final dot, any case. */
const struct answer *resolver_known(struct resolver *r, struct slice name, int type);
/* Asks. done comes exactly once and never before this returns. A name that cannot be a domain name is ANSWER_NXDOMAIN.
 */
void resolver_ask(struct resolver *r, struct slice name, int type, resolver_fn *done, void *ctx);

#endif
