/* Adding and removing zones through a catalog zone (RFC 9432), which the site's Knot interprets,
 * and possibly its secondaries. Blocking, as dns_server.h. */
#ifndef POSTBUS_VERIFIER_CATALOG_H
#define POSTBUS_VERIFIER_CATALOG_H

#include "services/verifier/zone/dns_server.h"

enum { CATALOG_WAIT_MS = 5000 };

/* Makes zone a member and waits until the server serves it. 0, or -1 with the reason. */
int catalog_add(struct dns_server *s, const char *catalog, const char *zone, char reason[DNS_REASON_MAX]);
/* 1: it was a member and was removed; 0: it was not a member; -1 with the reason. The zone's
 * content and keys are removed with it. */
int catalog_remove(struct dns_server *s, const char *catalog, const char *zone, char reason[DNS_REASON_MAX]);
/* Calls each() with every member (lower case, without final dot). 0, or -1 with the reason: the
 * list is then incomplete. */
int catalog_list(struct dns_server *s, const char *catalog, void (*each)(void *ctx, const char *zone), void *ctx,
                 char reason[DNS_REASON_MAX]);

#endif
