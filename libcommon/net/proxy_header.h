/* The PROXY protocol, versions 1 and 2: with it a proxy tells at the beginning of a connection who
 * its client is. And the networks from which proxies may connect. Pure. */
#ifndef POSTBUS_NET_PROXY_HEADER_H
#define POSTBUS_NET_PROXY_HEADER_H

#include <netinet/in.h>

#include "libcommon/base/slice.h"

enum { PROXY_HEADER_MAX = 4096, PROXY_NETWORKS_MAX = 64 };

struct proxy_header {
    bool has_client;                /* false: LOCAL, UNKNOWN or not TCP: the proxy itself */
    struct sockaddr_storage client; /* IPv4 or IPv6, with its port */
};

/* Reads the header at the beginning of what a proxy has sent. Its length; 0: it is not complete
 * yet; -1: it is none, or longer than PROXY_HEADER_MAX. */
int proxy_header_parse(struct slice bytes, struct proxy_header *out);

struct proxy_networks {
    size_t count;
    struct {
        unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
        int bits;
    } networks[PROXY_NETWORKS_MAX];
};

/* "10.0.0.0/8, fd00::/8 192.0.2.7": false when it is not a list of networks, or too long. Empty:
 * none. */
bool proxy_networks_parse(struct slice text, struct proxy_networks *out);
bool proxy_networks_have(const struct proxy_networks *networks, const struct sockaddr *address);

#endif
