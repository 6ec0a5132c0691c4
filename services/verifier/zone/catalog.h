/* Zones that come and go through a catalog zone (RFC 9432), which our Knot interprets, and so may its secondaries.
 * Blocking, as dns_server.h. */
#ifndef POSTBUS_VERIFIER_CATALOG_H
#define POSTBUS_VERIFIER_CATALOG_H

#include "services/verifier/zone/dns_server.h"

enum { CATALOG_WAIT_MS = 5000 };

/* Makes zone a member and waits until the server serves it. 0, or -1 with the reason. */
int catalog_add(struct dns_server *s, const char *catalog, const char *zone, char reason[DNS_REASON_MAX]);
/* 1: it was a member and is none now; 0: it was none; -1 with the reason. The zone's content and keys go with it. */
int catalog_remove(struct dns_server *s, const char *catalog, const char *zone, char reason[DNS_REASON_MAX]);
/* Calls each() with every member (lower case, without final dot). 0, or -1 with the reason: the list is not whole then.
 */
int catalog_list(struct dns_server *s, const char *catalog, void (*each)(void *ctx, const char *zone), void *ctx,
                 char reason[DNS_REASON_MAX]);

#endif
