/* Notes of the verifier about domains, shared by replicas and kept over restarts: one text for each
 * kind and domain, written as a whole. The only module that accesses v:<kind>:<domain> keys. Losing
 * a note costs a DNS query, except for NOTE_PUBLISHED: only records that are noted there are ever
 * removed from a zone. */
#ifndef POSTBUS_STORE_DOMAIN_NOTE_H
#define POSTBUS_STORE_DOMAIN_NOTE_H

#include "libcommon/store/redis.h"

enum domain_note {
    NOTE_PUBLISHED, /* the records that were, or are about to be, put into the domain's zone */
    NOTE_CHECK,     /* the last check of the domain's DNS from outside */
    NOTE_STS,       /* the MTA-STS policy of another site's domain */
};

typedef void domain_note_done_fn(void *ctx, int error);
/* text: valid during the call; empty with an error. */
typedef void domain_note_read_fn(void *ctx, int error, struct slice text);

/* keep_ms: time after which it expires; 0: never. done may be NULL if a loss has no
 * consequences. */
void domain_note_write(struct redis *r, enum domain_note kind, const char *domain, struct slice text, int64_t keep_ms,
                       domain_note_done_fn *done, void *ctx);
/* STORE_NOT_FOUND */
void domain_note_read(struct redis *r, enum domain_note kind, const char *domain, domain_note_read_fn *done, void *ctx);
void domain_note_delete(struct redis *r, enum domain_note kind, const char *domain, domain_note_done_fn *done,
                        void *ctx);

/* Names of leases among these keys, for lease.h: for the DKIM roll-overs, and for the checks of all
 * domains' DNS. */
#define LEASE_DKIM "v:lease:dkim"
#define LEASE_DNS_CHECK "v:lease:dns-check"

#endif
