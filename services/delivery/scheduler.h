/* Leases due entries: at once when the outbox wakes this worker, and otherwise by a timer. */
#ifndef POSTBUS_DELIVERY_SCHEDULER_H
#define POSTBUS_DELIVERY_SCHEDULER_H

#include "services/delivery/delivery.h"

struct scheduler *scheduler_create(struct delivery *d);
void scheduler_destroy(struct scheduler *s);
/* There may be due work in this shard. */
void scheduler_want(struct scheduler *s, int shard);
/* The process drains: nothing more is leased, leases are released, and the service ends when no
 * work is left. */
void scheduler_drain(struct scheduler *s);

#endif
