/* Makes an authoritative DNS server say what we want: RFC 2136 updates with TSIG (RFC 8945), a zone a domain, zones made and removed through a catalog zone
 * (RFC 9432). Blocking, with bounds: called on the pool's threads, never on the loop. */
#ifndef POSTBUS_VERIFIER_UPDATE_H
#define POSTBUS_VERIFIER_UPDATE_H

#include "services/verifier/records.h"

enum { UPDATE_TIMEOUT_SECONDS = 3, UPDATE_ZONE_WAIT_MS = 5000, UPDATE_REASON_MAX = 256 };

struct update_server {
    const char *address;                        /* "knot@53": host or address, optional port */
    const char *catalog;                        /* "catalog.postbus" */
    const char *algorithm, *key_name, *key_b64; /* TSIG */
};

/* Makes the zone if it is not there and gives it these records, each RRset as a whole, where the server says otherwise now. The RRsets of absent
 * (value NULL) are removed. *changed: RRsets written. 0, or -1 with the reason in words. */
int update_publish(const struct update_server *server, const char *zone, size_t n, const struct dns_record records[], size_t absent_count,
                   const struct dns_record absent[], size_t *changed, char reason[UPDATE_REASON_MAX]);
/* Removes the zone. */
int update_remove(const struct update_server *server, const char *zone, char reason[UPDATE_REASON_MAX]);
/* Calls each() with every zone in the catalog (lower case, without final dot). */
int update_list(const struct update_server *server, void (*each)(void *ctx, const char *zone), void *ctx, char reason[UPDATE_REASON_MAX]);

#endif
