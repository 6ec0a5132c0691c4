#include "libcommon/net/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { V1_MAX = 107, V2_FIXED = 16, V2_TCP4 = 12, V2_TCP6 = 36, IP_TEXT_MAX = 64, V4_BITS = 32, V6_BITS = 128 };
static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n"; /* and version 2, in the upper half of the next byte */
enum { V2_SIGNATURE = sizeof v2_signature - 1 };

static void set_client(struct proxy_header *out, int family, const void *address, uint16_t port) {
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&out->client;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, address, sizeof v4->sin_addr);
        v4->sin_port = htons(port);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->client;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, address, sizeof v6->sin6_addr);
        v6->sin6_port = htons(port);
    }
    out->has_client = true;
}

static bool read_address(int family, struct slice text, unsigned char out[16]) {
    char copy[IP_TEXT_MAX];
    if (!text.n || text.n >= sizeof copy) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    return !memchr(text.p, 0, text.n) && inet_pton(family, copy, out) == 1;
}

/* No leading zeros. */
static bool read_port(struct slice text, uint16_t *port) {
    uint64_t n;
    if ((text.n > 1 && *text.p == '0') || slice_to_u64(text, UINT16_MAX, &n) != 0) return false;
    *port = (uint16_t)n;
    return true;
}

/* §2.1: "PROXY TCP4 192.0.2.1 192.0.2.2 1234 25" */
static int parse_v1(struct slice bytes, struct proxy_header *out) {
    struct slice head = slice_head(bytes, V1_MAX), line, word;
    const char *end = memmem(head.p, head.n, "\r\n", 2);
    if (!end) return bytes.n < V1_MAX ? 0 : -1;
    line = slice_make(head.p, (size_t)(end - head.p));
    int length = (int)line.n + 2;
    struct slice rest = slice_skip(line, 6);
    if (slice_is(rest, "UNKNOWN") || slice_starts(rest, SLICE("UNKNOWN "))) return length;
    if (!slice_cut(&rest, ' ', &word)) return -1;
    int family = slice_is(word, "TCP4") ? AF_INET : slice_is(word, "TCP6") ? AF_INET6 : -1;
    unsigned char client[16], server[16];
    uint16_t client_port, server_port;
    if (family < 0 || !slice_cut(&rest, ' ', &word) || !read_address(family, word, client) ||
        !slice_cut(&rest, ' ', &word) || !read_address(family, word, server) || !slice_cut(&rest, ' ', &word) ||
        !read_port(word, &client_port) || !read_port(rest, &server_port))
        return -1;
    set_client(out, family, client, client_port);
    return length;
}

/* §2.2. What follows the addresses (TLVs) is skipped. */
static int parse_v2(struct slice bytes, struct proxy_header *out) {
    if (bytes.n < V2_FIXED) return 0;
    const unsigned char *p = (const unsigned char *)bytes.p;
    int version = p[12] >> 4, command = p[12] & 15, family = p[13] >> 4, transport = p[13] & 15;
    size_t length = (size_t)(p[14] << 8 | p[15]);
    if (version != 2 || command > 1 || family > 3 || transport > 2 || V2_FIXED + length > PROXY_HEADER_MAX) return -1;
    bool tcp4 = family == 1 && transport == 1, tcp6 = family == 2 && transport == 1;
    if (command == 1 && ((tcp4 && length < V2_TCP4) || (tcp6 && length < V2_TCP6))) return -1;
    if (bytes.n < V2_FIXED + length) return 0;
    const unsigned char *address = p + V2_FIXED;
    if (command == 1 && tcp4) set_client(out, AF_INET, address, (uint16_t)(address[8] << 8 | address[9]));
    if (command == 1 && tcp6) set_client(out, AF_INET6, address, (uint16_t)(address[32] << 8 | address[33]));
    return (int)(V2_FIXED + length);
}

int proxy_header_parse(struct slice bytes, struct proxy_header *out) {
    const struct slice v1 = SLICE("PROXY "), v2 = slice_make(v2_signature, V2_SIGNATURE);
    *out = (struct proxy_header){0};
    if (slice_starts(bytes, v1)) return parse_v1(bytes, out);
    if (slice_starts(bytes, v2)) return parse_v2(bytes, out);
    return slice_starts(v1, bytes) || slice_starts(v2, bytes) ? 0 : -1; /* the beginning of one */
}

static bool read_network(struct slice text, unsigned char address[16], int *bits) {
    struct slice ip = text;
    uint64_t prefix;
    bool has_prefix = slice_cut(&text, '/', &ip), v4 = slice_find(ip, ':') < 0;
    memset(address, 0, 16);
    if (v4) memset(address + 10, 0xff, 2);
    if (!read_address(v4 ? AF_INET : AF_INET6, ip, v4 ? address + 12 : address)) return false;
    prefix = v4 ? V4_BITS : V6_BITS;
    if (has_prefix && slice_to_u64(text, prefix, &prefix) != 0) return false;
    *bits = (int)prefix + (v4 ? V6_BITS - V4_BITS : 0);
    return true;
}

bool proxy_networks_parse(struct slice text, struct proxy_networks *out) {
    *out = (struct proxy_networks){0};
    while (text.n) {
        size_t n = 0;
        while (n < text.n && text.p[n] != ',' && text.p[n] != ' ') n++;
        struct slice one = slice_head(text, n);
        text = slice_skip(text, n + 1);
        if (!one.n) continue;
        if (out->count == PROXY_NETWORKS_MAX ||
            !read_network(one, out->networks[out->count].address, &out->networks[out->count].bits))
            return false;
        out->count++;
    }
    return true;
}

bool proxy_networks_have(const struct proxy_networks *networks, const struct sockaddr *address) {
    unsigned char ip[16] = {0};
    if (address->sa_family == AF_INET6) {
        memcpy(ip, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof ip);
    } else if (address->sa_family == AF_INET) {
        memset(ip + 10, 0xff, 2);
        memcpy(ip + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else {
        return false;
    }
    for (size_t i = 0; i < networks->count; i++) {
        int bits = networks->networks[i].bits, whole = bits / 8, rest = bits % 8;
        const unsigned char *network = networks->networks[i].address;
        if (memcmp(network, ip, (size_t)whole) != 0) continue;
        if (!rest || (network[whole] ^ ip[whole]) >> (8 - rest) == 0) return true;
    }
    return false;
}
