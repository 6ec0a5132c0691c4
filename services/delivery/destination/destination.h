/* A destination: one next hop, that is, one set of mail servers with one set of demands on TLS, for
 * all domains that share them. It has the transactions that wait for it and the connections to it,
 * which are kept and used again. A stall or a failure does not affect other destinations: each has
 * its own window of connections (window.h). */
#ifndef POSTBUS_DELIVERY_DESTINATION_H
#define POSTBUS_DELIVERY_DESTINATION_H

#include "services/delivery/delivery.h"
#include "services/delivery/tls/tls_demand.h"
#include "services/delivery/transaction/transaction.h"

struct destination;

struct destinations *destinations_create(struct delivery *d);
void destinations_destroy(struct destinations *all);

/* The destination of a domain with this route (reply of verifier.route with result "ok") for
 * messages with this wish. Valid until the next turn of the loop. */
struct destination *destination_find(struct destinations *all, json_t *route, const char *domain,
                                     const struct tls_wish *wish);
/* Whether the route has demands on TLS, so that the message's waiver matters (RFC 8689 §4.2.2).
 */
bool destination_route_demands_tls(const json_t *route);

/* Puts these recipients (copied) into a transaction, together with those of the same message and
 * reverse-path that wait there already. If the destination pauses now, or has no room for further
 * transactions, they are settled at once as deferred, which does not count as an attempt. */
void destination_add(struct destination *dest, const struct transaction_owner *owner, struct slice from, bool forced,
                     size_t count, const size_t indexes[]);

/* Drops waiting transactions of messages whose lease was lost; while the process drains, all
 * waiting transactions and all sessions except those whose server has the whole message. */
void destinations_sweep(struct destinations *all);
/* Sessions, connection attempts and waiting transactions, of all destinations. */
size_t destinations_in_work(const struct destinations *all);
/* Sets the number of workers of the site, which share each destination's connections. */
void destinations_set_workers(struct destinations *all, size_t workers);

#endif
