/* Opens one session to a destination: tries host after host, and for each a race of its addresses
 * (race.h), until a server greets, offers the required extensions, and accepts mail. */
#ifndef POSTBUS_DELIVERY_CONNECTOR_H
#define POSTBUS_DELIVERY_CONNECTOR_H

#include "services/delivery/destination/targets.h"
#include "services/delivery/session/session.h"
#include "services/delivery/transaction/outcome.h"

struct connector;

struct connector_settings {
    struct delivery *delivery;
    json_t *route;      /* a reference is taken */
    const char *domain; /* whose route it is: copied */
    const char *id;     /* id of the message for which it connects, for events and the log;
                           copied */
    struct tls_wish wish;
    struct life *owner; /* woken when it is done; every session it makes wakes it too */
};

struct connector *connector_create(const struct connector_settings *settings);
void connector_destroy(struct connector *c);
bool connector_is_done(const struct connector *c);
/* For a connector that is done: returns the session, which the caller owns, or NULL with the
 * outcome for waiting transactions in *outcome (its texts are valid as long as the connector). */
struct session *connector_take(struct connector *c, struct outcome *outcome);

#endif
