/* Divides a message's due recipients: local mailboxes (local.c) and, for each remote domain whose
 * route is known, its destination. */
#ifndef POSTBUS_DELIVERY_PARTS_H
#define POSTBUS_DELIVERY_PARTS_H

#include "services/delivery/message/leased.h"

/* Tries the recipients that are due, or for which a retry was requested. */
void parts_start(struct message *m);
/* Tries recipients whose time has come while others are being tried; when the next one's comes, 0:
 * there is none. */
int64_t parts_start_due(struct message *m);

#endif
