/* Counts the connections of each client, over all workers of the process. An IPv6 client is its /64
 * network, the smallest that a customer gets (RFC 6177). */
#ifndef POSTBUS_SERVICE_CLIENTS_H
#define POSTBUS_SERVICE_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>

struct clients;

/* max: connections of one client. */
struct clients *clients_create(size_t max);
void clients_destroy(struct clients *c); /* NULL is allowed */
/* Counts a connection; false, without counting, when this client has max already. ip: as from
 * stream_peer. Any thread may call it. */
bool clients_enter(struct clients *c, const char *ip);
/* A counted connection has ended. */
void clients_leave(struct clients *c, const char *ip);

#endif
