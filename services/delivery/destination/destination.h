/* A destination: one next hop, that is, one set of mail servers with one set of demands on TLS, whichever domains lead
 * there. It holds the transactions that wait for it and the connections to it, which are kept and used again. What
 * stalls or fails here concerns nobody else: each destination has a window of connections of its own (window.h). */
#ifndef POSTBUS_DELIVERY_DESTINATION_H
#define POSTBUS_DELIVERY_DESTINATION_H

#include "services/delivery/delivery.h"
#include "services/delivery/tls/tls_demand.h"
#include "services/delivery/transaction/transaction.h"

struct destination;

struct destinations *destinations_create(struct delivery *d);
void destinations_destroy(struct destinations *all);

/* The destination of a domain with this route (verifier.route's, result "ok") for messages with this wish. Valid until
 * the next turn of the loop. */
struct destination *destination_find(struct destinations *all, json_t *route, const char *domain,
                                     const struct tls_wish *wish);
/* Whether what is known of the route asks anything of TLS, so that a waiver of the message matters (RFC 8689 §4.2.2).
 */
bool destination_route_demands_tls(const json_t *route);

/* Puts these recipients (copied) into a transaction, together with those of the same message and reverse-path that wait
 * there already. Where the destination is left alone now, or has no room for more to wait, they are settled at once as
 * deferred, which counts as no attempt. */
void destination_add(struct destination *dest, const struct transaction_owner *owner, struct slice from, bool forced,
                     size_t count, const size_t indexes[]);

/* Drops whatever waits for a message that may not go on any more; while the process drains, everything that waits and
 * every session but those whose server has the whole message. */
void destinations_sweep(struct destinations *all);
/* Sessions, connection attempts and waiting transactions, of all destinations. */
size_t destinations_in_work(const struct destinations *all);
/* How many workers of the site there are: they share each destination's connections. */
void destinations_set_workers(struct destinations *all, size_t workers);

#endif
