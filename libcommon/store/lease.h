/* Leases by name, for work that one replica does at a time. A lease is a key with its holder's token; it ends by
 * itself, so that a dead replica's work is found again. (An entry of the queue has its own, queue.h, and so has what is
 * kept together with the state of the work.) */
#ifndef POSTBUS_STORE_LEASE_H
#define POSTBUS_STORE_LEASE_H

#include "libcommon/store/redis.h"

/* error: 0: the lease is this token's for `ms` from now. STORE_LOST: it is another's; the work must not begin, or must
 * stop. STORE_UNAVAILABLE: not known; it ends at the time last given. */
typedef void lease_done_fn(void *ctx, int error);

/* name: the whole key. Takes the lease if nobody has it; whoever has it makes it last `ms` from now. */
void lease_acquire(struct redis *r, struct slice name, const char *token, int64_t ms, lease_done_fn *done, void *ctx);
/* Makes it last `ms` from now, if it is still this token's: one that ended meanwhile is lost, even if nobody took it.
 */
void lease_extend(struct redis *r, struct slice name, const char *token, int64_t ms, lease_done_fn *done, void *ctx);
/* Gives it up, so that another need not wait for its end. done may be NULL. */
void lease_release(struct redis *r, struct slice name, const char *token, lease_done_fn *done, void *ctx);

#endif
