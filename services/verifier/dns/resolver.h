/* The validating resolver of one worker: libunbound on the worker's own loop (DNSSEC, query name
 * minimisation, 0x20), with a small cache of parsed answers in front of it, so that a repeated
 * question costs one hash lookup. Identical questions in flight are sent once. Each worker has its
 * own resolver (workers share nothing): a process sends at most one question for a name from each
 * worker, usually four, which costs less than a shared cache with a lock.
 *
 * A question ends within RESOLVER_TIMEOUT_MS: SERVFAIL, silence and bogus signatures are all
 * ANSWER_FAILED, bogus ones with ANSWER_BOGUS and the reason. */
#ifndef POSTBUS_VERIFIER_RESOLVER_H
#define POSTBUS_VERIFIER_RESOLVER_H

#include <event2/event.h>

#include "services/verifier/dns/answer.h"

struct resolver;

enum {
    RESOLVER_TIMEOUT_MS = 10000,
    RESOLVER_IN_FLIGHT_MAX = 2048,     /* questions; a further one fails at once */
    RESOLVER_DOMAIN_MAX = 256,         /* of these about one registered domain, so that a domain
                                          whose servers do not answer leaves room for others */
    RESOLVER_CACHE_ENTRIES_MAX = 8192, /* answers */
    RESOLVER_TTL_MAX = 3600,           /* seconds in our cache */
    RESOLVER_FAILED_TTL = 5,           /* seconds for which a failure is cached */
};

struct resolver_settings {
    const char *forward;      /* "addr[@port],…" or "": recursion from the root */
    const char *stubs;        /* "zone=addr[@port],addr…,zone=…": authoritative servers to ask for
                                 these zones; or "" */
    const char *trust_anchor; /* files of DS or DNSKEY records, separated by commas; "": those of
                                 the root */
};

/* Reads the settings once, at start-up; names of servers are resolved by the system. NULL, after
 * logging the reason, when they are invalid. */
struct resolver *resolver_create(struct event_base *base, const struct resolver_settings *settings);
/* All waiting questions fail first. */
void resolver_destroy(struct resolver *r);

/* answer: valid during the call. */
typedef void resolver_fn(void *ctx, const struct answer *answer);

/* The cached answer, valid until the next turn of the loop; NULL when there is none. name:
 * A-labels, with or without the final dot, any case. */
const struct answer *resolver_known(struct resolver *r, struct slice name, int type);
/* Resolves a name. done is called exactly once and never before this returns. An invalid domain
 * name gives ANSWER_NXDOMAIN. */
void resolver_ask(struct resolver *r, struct slice name, int type, resolver_fn *done, void *ctx);

#endif
