#include "services/verifier/dns/domain.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUT_MAX = 1000 };

static bool is_domain_text(const char *name) {
    size_t label = 0;
    if (strlen(name) > 253) return false;
    for (const char *p = name; *p; p++) {
        if (*p == '.') {
            if (label == 0) return false;
            label = 0;
        } else if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '_') || ++label > 63) {
            return false;
        }
    }
    return label > 0;
}

int domain_to_ascii(struct slice domain, char out[DOMAIN_MAX]) {
    char input[INPUT_MAX + 1];
    bool ascii = true;
    if (domain.n && domain.p[domain.n - 1] == '.') domain.n--;
    if (domain.n == 0 || domain.n > INPUT_MAX || slice_find(domain, '\0') >= 0) return -1;
    for (size_t i = 0; i < domain.n; i++) {
        char c = domain.p[i];
        ascii = ascii && (unsigned char)c < 0x80;
        input[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    input[domain.n] = '\0';
    if (ascii) {
        if (!is_domain_text(input)) return -1;
        memcpy(out, input, domain.n + 1);
        return 0;
    }
    char *converted = NULL;
    if (idn2_to_ascii_8z(input, &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK) return -1;
    bool good = is_domain_text(converted);
    if (good) memcpy(out, converted, strlen(converted) + 1);
    idn2_free(converted);
    return good ? 0 : -1;
}

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
