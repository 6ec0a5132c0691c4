/* Reports to the sender, as work of their own: what is owed is recorded in the queue with the outcomes, so that it is
 * found again whatever happens here. */
#ifndef POSTBUS_DELIVERY_REPORT_H
#define POSTBUS_DELIVERY_REPORT_H

#include "libcommon/outbox/envelope.h"
#include "services/delivery/delivery.h"

/* 0 or QUEUE_GONE: all reports that were owed are in the system, or there is nobody to tell (the sender does not
 * exist), and the queue knows. Else an enum store_error: the rest is owed still. */
typedef void report_fn(void *ctx, int error);

/* Puts the reports that are owed on the envelope's recipients into the outbox, one of each kind, and clears `owed` in
 * the queue and in the envelope, which stays until done. */
void report_owed(struct delivery *d, struct envelope *e, const char *token, report_fn *done, void *ctx);
/* Says mail.bounced; dsn: the report's id, NULL: none is owed, or there is nobody to tell. */
void report_tell_bounced(struct delivery *d, const struct envelope *e, size_t index, const char *dsn);

#endif
