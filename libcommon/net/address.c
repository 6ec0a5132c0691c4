#include "libcommon/net/address.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static bool is_public_v4(uint32_t a) {
    static const struct {
        uint32_t network;
        int bits;
    } closed[] = {{0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
                  {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
                  {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 3}};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        if ((a ^ closed[i].network) >> (32 - closed[i].bits) == 0) return false;
    return true;
}

static bool embedded_is_public(const unsigned char *bytes) {
    uint32_t a;
    memcpy(&a, bytes, sizeof a);
    return is_public_v4(ntohl(a));
}

static bool is_public_v6(const unsigned char *a) {
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0) return embedded_is_public(a + 12);
    if (a[0] == 0x20 && a[1] == 0x02) return embedded_is_public(a + 2);   /* 6to4 */
    if (a[0] == 0x20 && a[1] == 0x01 && (a[2] & 0xfe) == 0) return false; /* 2001::/23, protocols; Teredo is one */
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) return false; /* documentation */
    if (a[0] == 0x3f && a[1] == 0xff && (a[2] & 0xf0) == 0) return false;           /* documentation, RFC 9637 */
    return (a[0] & 0xe0) == 0x20;                                                   /* global unicast (RFC 4291 §2.4) */
}

bool net_address_is_public(const struct sockaddr *address) {
    if (address->sa_family == AF_INET)
        return is_public_v4(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
    if (address->sa_family != AF_INET6) return false;
    return is_public_v6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
}
