/* One transaction on an open session: MAIL, RCPT and, if permitted, DATA in one group (RFC 2920), the
 * body in pieces, and the replies. Before each command it checks whether the message's lease still
 * holds. */
#ifndef POSTBUS_DELIVERY_SESSION_MAIL_H
#define POSTBUS_DELIVERY_SESSION_MAIL_H

#include "services/delivery/session/connection.h"

/* Begins s->transaction. */
void mail_start(struct session *s);
/* During a transaction: a reply; the body's arrival, or room in the stream. */
void mail_on_reply(struct session *s);
void mail_go_on(struct session *s);
/* The connection was lost for this reason: settles the recipients that can be settled. NULL: this
 * side ends it, and nothing is settled. */
void mail_on_lost(struct session *s, const char *why);

#endif
