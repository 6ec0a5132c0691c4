/* Recipients with a mailbox here: many messages to the mailbox service in one request (`mailbox.deliver`), which does
 * each once however often it is asked. Mail to the site's report addresses is handed to the reporter instead
 * (`reporter.take`): they have the user "reporter". */
#ifndef POSTBUS_DELIVERY_LOCAL_H
#define POSTBUS_DELIVERY_LOCAL_H

#include "services/delivery/delivery.h"
#include "services/delivery/transaction/transaction.h"

struct locals *locals_create(struct delivery *d);
/* After the bus is gone. */
void locals_destroy(struct locals *all);
/* Delivers to one recipient, with whatever else comes in this turn of the loop; the outcome comes through the owner. */
void local_deliver(struct locals *all, const struct transaction_owner *owner, size_t index);

#endif
