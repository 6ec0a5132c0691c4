/* Leases by name, for work that one replica does at a time. A lease is a key with its holder's
 * token; it expires, so that another replica continues a dead replica's work. (Entries of the queue
 * have leases of their own, queue.h.) */
#ifndef POSTBUS_STORE_LEASE_H
#define POSTBUS_STORE_LEASE_H

#include "libcommon/store/redis.h"

/* error: 0: this token has the lease for `ms` from now. STORE_LOST: another has it; the work must
 * not begin, or must stop. STORE_UNAVAILABLE: unknown; it ends at the time that was last set. */
typedef void lease_done_fn(void *ctx, int error);

/* name: the whole key. Takes the lease if it is free; its holder extends it to `ms` from now. */
void lease_acquire(struct redis *r, struct slice name, const char *token, int64_t ms, lease_done_fn *done, void *ctx);
/* Extends it to `ms` from now if this token still has it: a lease that expired is lost, even if no
 * one else took it. */
void lease_extend(struct redis *r, struct slice name, const char *token, int64_t ms, lease_done_fn *done, void *ctx);
/* Releases it, so that others need not wait for its end. done may be NULL. */
void lease_release(struct redis *r, struct slice name, const char *token, lease_done_fn *done, void *ctx);

#endif
