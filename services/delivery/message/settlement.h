/* Outcomes of recipients are recorded in the queue before anything follows from them (docs/laws.md,
 * law 2). An outcome that cannot be recorded now is kept and recorded later; in particular, a
 * remote server's 250 is never lost. */
#ifndef POSTBUS_DELIVERY_SETTLEMENT_H
#define POSTBUS_DELIVERY_SETTLEMENT_H

#include "services/delivery/message/leased.h"

/* These recipients have these outcomes: they are recorded from the loop. */
void message_settle(struct message *m, size_t count, const size_t indexes[], const struct outcome outcomes[]);
/* Records unrecorded outcomes, in one request at a time, until the queue has answered. */
void settlement_record(struct message *m);
/* Whether a report is owed on a recipient whose state is recorded. */
bool settlement_owes(const struct message *m);

#endif
