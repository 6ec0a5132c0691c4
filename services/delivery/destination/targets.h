/* The servers that may be tried for one destination, in order, each with its demands on TLS. */
#ifndef POSTBUS_DELIVERY_TARGETS_H
#define POSTBUS_DELIVERY_TARGETS_H

#include "services/delivery/delivery.h"
#include "services/delivery/tls/tls_demand.h"

struct target {
    const json_t *host; /* of the route */
    const char *name;
    char ip[64];
    struct sockaddr_storage address;
    socklen_t address_n;
    struct tls_demand *demand; /* of the arena */
    bool tried;
};

/* A host that is excluded by its policy. */
struct target_refusal {
    const json_t *host;
    const struct tls_demand *demand;
};

struct targets {
    size_t count;
    struct target each[DESTINATION_ADDRESSES_MAX]; /* those of one host are adjacent */
    size_t refused_count;
    struct target_refusal refused[DESTINATION_ADDRESSES_MAX];
    bool leads_home;   /* this server is the most preferred MX, but does not host the domain (RFC
                          5321 §5.1) */
    bool private_only; /* there are addresses, and none that is public */
};

/* Hosts by preference, in random order among equals (RFC 5321 §5.1), the addresses of each with
 * IPv6 and IPv4 in turn (RFC 8305 §4). This server itself and hosts that are not preferred to it
 * are left out (§5.1), and so are hosts that their policy excludes. */
void targets_take(const struct delivery *d, struct arena *arena, const json_t *route, const struct tls_wish *wish,
                  struct targets *out);

#endif
