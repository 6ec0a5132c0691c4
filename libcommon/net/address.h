/* Network addresses: whether an address is public. Pure. */
#ifndef POSTBUS_NET_ADDRESS_H
#define POSTBUS_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Whether this IPv4 or IPv6 address is one of the public Internet: not loopback, private,
 * link-local, shared, for documentation or benchmarks, multicast or reserved (RFC 6890). Public
 * IPv6 addresses are 2000::/3 without such networks; where an IPv4 address is embedded (mapped,
 * 6to4, NAT64), that is judged. Other address families: false.
 *
 * Code that connects to an address from another domain's DNS must call this first, unless the
 * setting POSTBUS_PRIVATE_DESTINATIONS (for test networks) is on. */
bool net_address_is_public(const struct sockaddr *address);

#endif
