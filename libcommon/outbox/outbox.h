/* The outbox: the only way into the queue. The body and the entry are both on disk, and each write
 * is answered, before done(0) is called (docs/laws.md, law 1); then delivery is woken on the bus.
 * Used by smtpd, by delivery for its reports to senders, and by reporter. */
#ifndef POSTBUS_OUTBOX_OUTBOX_H
#define POSTBUS_OUTBOX_OUTBOX_H

#include "libcommon/bus/bus.h"
#include "libcommon/codec/envelope.h"
#include "libcommon/store/redis.h"

/* error: 0 or enum store_error. STORE_UNAVAILABLE: it is unknown whether the message is in the
 * queue; committing the same id again is safe. */
typedef void outbox_done_fn(void *ctx, int error);

/* Writes the body, then the queue entry, calls done when both are on disk, and wakes delivery. `e`
 * and `text` are not used after this returns. The second commit of one id changes nothing. done
 * must not be NULL and is never called before this returns. After a definite refusal of the entry
 * the body is released again. */
void outbox_commit(struct redis *r, struct bus *b, const struct envelope *e, struct slice text, outbox_done_fn *done,
                   void *ctx);
/* As outbox_commit, for a body that is stored already under the references `held` (separated by
 * "\n"; see blob.h): the queue's reference is added first, the held ones are released after the
 * commit. For a message whose direct delivery did not end in time. `held` must not contain a
 * reference of a delivery that may have happened (no answer, or "unavailable"), because the mailbox
 * may need it. STORE_NOT_FOUND: the body no longer exists. */
void outbox_commit_stored(struct redis *r, struct bus *b, const struct envelope *e, struct slice held,
                          outbox_done_fn *done, void *ctx);

#endif
