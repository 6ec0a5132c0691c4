/* From a destination's hosts to one open session: host after host, and of each the addresses that race (race.h), until
 * a server greets, offers what is asked for, and can be given mail. */
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
    const char *id;     /* of the message on whose behalf: for events and the log; copied */
    struct tls_wish wish;
    struct life *owner; /* woken when it is done; every session it makes wakes it too */
};

struct connector *connector_create(const struct connector_settings *settings);
void connector_destroy(struct connector *c);
bool connector_is_done(const struct connector *c);
/* Of one that is done: the session, the caller's; or NULL, and *outcome says what that means for whatever waits (texts
 * valid as long as the connector). */
struct session *connector_take(struct connector *c, struct outcome *outcome);

#endif
