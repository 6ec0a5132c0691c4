/* Reports to the sender, as a separate step: an owed report is recorded in the queue with the
 * outcome, so that it is not lost if this process ends. */
#ifndef POSTBUS_DELIVERY_REPORT_H
#define POSTBUS_DELIVERY_REPORT_H

#include "libcommon/codec/envelope.h"
#include "services/delivery/delivery.h"

/* 0 or QUEUE_GONE: all owed reports were committed, or the sender does not exist, and the queue has
 * recorded this. Otherwise an enum store_error: the rest is still owed. */
typedef void report_fn(void *ctx, int error);

/* Puts the reports that are owed on the envelope's recipients into the outbox, one of each kind,
 * and clears `owed` in the queue and in the envelope, which stays until done. */
void report_owed(struct delivery *d, struct envelope *e, const char *token, report_fn *done, void *ctx);
/* Publishes mail.bounced; dsn: the report's id, NULL: none is owed, or the sender does not
 * exist. */
void report_tell_bounced(struct delivery *d, const struct envelope *e, size_t index, const char *dsn);

#endif
