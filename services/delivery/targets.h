/* The servers that one attempt tries, in order, each with what TLS must be like on the way to it. */
#ifndef POSTBUS_DELIVERY_TARGETS_H
#define POSTBUS_DELIVERY_TARGETS_H

#include "services/delivery/delivery.h"
#include "services/delivery/tls_demand.h"

struct target {
    const json_t *host; /* of the route */
    const char *name;
    char ip[64];
    struct tls_demand *demand; /* of the arena */
};

struct targets {
    size_t count;
    struct target each[DELIVERY_ADDRESSES_MAX];
    const char *refusal; /* why the last host that may not be used may not; NULL: none was refused */
};

/* Hosts by preference, in random order among equals (RFC 5321 §5.1), all addresses of each. A host that its policy
 * forbids is left out, which is logged and told to who wants to hear of it. domain: as in the address. */
void targets_take(const struct entry *e, struct arena *arena, const json_t *route, const char *domain,
                  const struct tls_wish *wish, struct targets *out);
/* Whether one of them is this server itself. */
bool targets_lead_home(const struct entry *e, const struct targets *t);

#endif
