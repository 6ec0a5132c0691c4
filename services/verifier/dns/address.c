#include "services/verifier/dns/address.h"

#include <arpa/inet.h>
#include <stdio.h>

int domain_literal_address(struct slice domain, char out[64]) {
    char text[64];
    unsigned char bytes[16];
    if (domain.n < 3 || domain.p[0] != '[' || domain.p[domain.n - 1] != ']') return -1;
    struct slice inside = {domain.p + 1, domain.n - 2};
    int family = AF_INET;
    if (slice_starts_nocase(inside, SLICE("IPv6:"))) {
        family = AF_INET6;
        inside = slice_skip(inside, 5);
    }
    if (inside.n == 0 || inside.n >= sizeof text) return -1;
    memcpy(text, inside.p, inside.n);
    text[inside.n] = '\0';
    if (inet_pton(family, text, bytes) != 1 || !inet_ntop(family, bytes, out, 64)) return -1;
    return 0;
}

const char *domain_address_text(struct slice bytes, char out[64]) {
    out[0] = '\0';
    if (bytes.n == 4) inet_ntop(AF_INET, bytes.p, out, 64);
    if (bytes.n == 16) inet_ntop(AF_INET6, bytes.p, out, 64);
    return out;
}

int domain_reverse_name(struct slice address, char out[80]) {
    char text[64];
    unsigned char b[16];
    if (address.n == 0 || address.n >= sizeof text) return -1;
    memcpy(text, address.p, address.n);
    text[address.n] = '\0';
    if (inet_pton(AF_INET, text, b) == 1) {
        snprintf(out, 80, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
        return 0;
    }
    if (inet_pton(AF_INET6, text, b) != 1) return -1;
    if (memcmp(b, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0) {
        snprintf(out, 80, "%u.%u.%u.%u.in-addr.arpa", b[15], b[14], b[13], b[12]);
        return 0;
    }
    size_t n = 0;
    for (int i = 15; i >= 0; i--) {
        out[n++] = "0123456789abcdef"[b[i] & 15];
        out[n++] = '.';
        out[n++] = "0123456789abcdef"[b[i] >> 4];
        out[n++] = '.';
    }
    memcpy(out + n, "ip6.arpa", 9);
    return 0;
}
