/* The next step of the roll-over of a domain's DKIM keys: published → (seen in DNS, TTL passed) →
 * active → (replaced by others) → retired → (mail signed with it has been delivered) → removed.
 * Pure: takes times and lists, and returns a decision. rotate.c carries it out; the accounts
 * service stores the states. */
#ifndef POSTBUS_VERIFIER_ROTATION_H
#define POSTBUS_VERIFIER_ROTATION_H

#include <jansson.h>

#include "services/verifier/dns/answer.h"

enum {
    ROTATION_LOOK_MAX_MS = 3600000, /* the longest pause between two checks of a domain */
    ROTATION_LOOK_MIN_MS = 1000,
};

struct rotation_policy {
    int64_t rotate_ms;  /* time for which keys sign; 0: until a rotation is requested */
    int64_t retired_ms; /* time for which they stay in DNS after that: longer than mail may wait in
                           queues (RFC 5321 §4.5.4.1: 4 to 5 days) */
};

enum rotation_step {
    ROTATION_WAIT,   /* nothing is due before at_ms */
    ROTATION_MAKE,   /* the active keys are old: new ones are to be made */
    ROTATION_LOOK,   /* the published keys are to be looked up in DNS, see rotation_look */
    ROTATION_REMOVE, /* `selectors` have been retired long enough */
};

struct rotation {
    enum rotation_step step;
    int64_t at_ms;
    json_t *selectors; /* ROTATION_REMOVE, an array that the caller owns; otherwise NULL */
};

/* keys: as in the answer of accounts.key.list. now_ms: of the wall clock. */
struct rotation rotation_next(const json_t *keys, const struct rotation_policy *policy, int64_t now_ms);

/* Whether the answer to TXT <selector>._domainkey.<domain> is this key's record and nothing else
 * (RFC 6376 §3.6.1; several records are undefined, §3.6.2.2). */
bool rotation_record_fits(const struct answer *answer, const char *algorithm, const char *public_b64);

/* The result of a DNS query for one published key. */
struct rotation_look {
    bool fits;        /* it is in DNS now */
    bool known;       /* the store has recorded it as seen */
    int64_t ready_ms; /* if known: the time from which all caches have it */
    bool urgent;      /* its predecessors are compromised: caches are not waited for */
};
/* Whether all published keys of a domain may sign now. */
bool rotation_may_switch(size_t count, const struct rotation_look looks[], int64_t now_ms);

/* "2026-11-24T09:41:17.123Z" as milliseconds since 1970; 0 when it is not a time. */
int64_t rotation_time(const char *rfc3339);

#endif
