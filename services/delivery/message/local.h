/* Local recipients: many messages are sent to the mailbox service in one request
 * (`mailbox.deliver`), which delivers each once even if it is repeated. Mail to the site's report
 * addresses, which have the user "reporter", is passed to the reporter instead
 * (`reporter.take`). */
#ifndef POSTBUS_DELIVERY_LOCAL_H
#define POSTBUS_DELIVERY_LOCAL_H

#include "services/delivery/delivery.h"
#include "services/delivery/transaction/transaction.h"

struct locals *locals_create(struct delivery *d);
/* Must be called after the bus was destroyed. */
void locals_destroy(struct locals *all);
/* Delivers to one recipient, together with others of this turn of the loop; the outcome is passed
 * to the owner. */
void local_deliver(struct locals *all, const struct transaction_owner *owner, size_t index);

#endif
