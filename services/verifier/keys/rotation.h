/* What the roll-over of a domain's DKIM keys asks for next: published → (seen in DNS, its TTL passed) → active →
 * (others took its place) retired → (no mail signed with it is on its way any more) removed. Pure: times and lists in,
 * a decision out. Who does it: rotate.c; who keeps the states: the accounts service.
 */
#ifndef POSTBUS_VERIFIER_ROTATION_H
#define POSTBUS_VERIFIER_ROTATION_H

#include <jansson.h>

#include "services/verifier/dns/answer.h"

enum {
    ROTATION_LOOK_MAX_MS = 3600000, /* the longest pause between two looks at a domain */
    ROTATION_LOOK_MIN_MS = 1000,
};

struct rotation_policy {
    int64_t rotate_ms;  /* how long keys sign; 0: until somebody asks for others */
    int64_t retired_ms; /* how long they stay in DNS after that: longer than mail may be on its way (RFC 5321 §4.5.4.1:
                           4 to 5 days) */
};

enum rotation_step {
    ROTATION_WAIT,   /* nothing is due before at_ms */
    ROTATION_MAKE,   /* the active keys are old: new ones */
    ROTATION_LOOK,   /* are the published ones in DNS? see rotation_look */
    ROTATION_REMOVE, /* `selectors` have been retired long enough */
};

struct rotation {
    enum rotation_step step;
    int64_t at_ms;
    json_t *selectors; /* ROTATION_REMOVE, an array that is the caller's; else NULL */
};

/* keys: as accounts.key.list answers them. now_ms: of the wall clock. */
struct rotation rotation_next(const json_t *keys, const struct rotation_policy *policy, int64_t now_ms);

/* Whether the answer to TXT <selector>._domainkey.<domain> is this key's record and nothing else (RFC 6376 §3.6.1;
 * several records are undefined, §3.6.2.2). */
bool rotation_record_fits(const struct answer *answer, const char *algorithm, const char *public_b64);

/* One published key as it was seen. */
struct rotation_look {
    bool fits;        /* it is in DNS now */
    bool known;       /* and was before, for the store */
    int64_t ready_ms; /* known: from when on everyone knows it */
    bool urgent;      /* its predecessors are compromised: nobody waits for caches */
};
/* All published keys of a domain together: whether they may sign now. */
bool rotation_may_switch(size_t count, const struct rotation_look looks[], int64_t now_ms);

/* "2026-11-24T09:41:17.123Z" as milliseconds since 1970; 0 when it is none. */
int64_t rotation_time(const char *rfc3339);

#endif
