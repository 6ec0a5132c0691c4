/* Network addresses: which of them the rest of the Internet can have. Pure. */
#ifndef POSTBUS_NET_ADDRESS_H
#define POSTBUS_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Whether this IPv4 or IPv6 address is one of the public Internet: not loopback, private, link-local, shared, of
 * documentation or benchmarks, multicast or reserved (RFC 6890); of IPv6, 2000::/3 less such networks, with the IPv4
 * address judged where one is embedded (mapped, 6to4, NAT64). Other address families: false.
 *
 * Whatever connects to an address that somebody else's DNS named asks this first, unless the setting
 * POSTBUS_PRIVATE_DESTINATIONS, for test networks, says on. */
bool net_address_is_public(const struct sockaddr *address);

#endif
