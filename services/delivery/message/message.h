/* The work on a leased queue entry. The steps: its due recipients are tried (parts.c), each outcome is
 * recorded (settlement.c), owed reports are sent (report.c), then the lease is released, or the body
 * if nothing is left. */
#ifndef POSTBUS_DELIVERY_MESSAGE_H
#define POSTBUS_DELIVERY_MESSAGE_H

#include "services/delivery/message/leased.h"

/* Takes ownership of the envelope. on_end is called once, from the loop. */
struct message *message_start(struct delivery *d, struct envelope *e, const char *token, int64_t lease_asked_us,
                              void (*on_end)(void *ctx, struct message *m), void *ctx);
/* This worker has leased the entry again while it still has the message. Another worker may have
 * worked on it in between, so no further command is sent to a remote server; unrecorded outcomes
 * are recorded under the new lease, which is then released. */
void message_adopt(struct message *m, const char *token, int64_t lease_asked_us);

#endif
