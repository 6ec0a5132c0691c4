/* Reverse DNS, forward-confirmed (RFC 8601 §2.7.3, §3). */
#include <arpa/inet.h>

#include "libcommon/base/buf.h"
#include "libcommon/trust/trust_private.h"

enum { NAMES_MAX = 10 };

/* "1.2.0.192.in-addr.arpa" of a textual address; false when it is none. mapped IPv4 counts as IPv4. */
static bool reverse_name(struct slice ip, struct buf *out, unsigned char address[16], bool *v6) {
    char text[64];
    if (ip.n >= sizeof text) return false;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = 0;
    *v6 = inet_pton(AF_INET, text, address) != 1;
    if (*v6 && inet_pton(AF_INET6, text, address) != 1) return false;
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (*v6 && memcmp(address, mapped, 12) == 0) {
        *v6 = false;
        memmove(address, address + 12, 4);
    }
    if (*v6)
        for (int i = 15; i >= 0; i--) buf_printf(out, "%x.%x.", address[i] & 15, address[i] >> 4);
    else
        for (int i = 3; i >= 0; i--) buf_printf(out, "%d.", address[i]);
    buf_add_str(out, *v6 ? "ip6.arpa" : "in-addr.arpa");
    return true;
}

int iprev_check(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns, struct trust_result *out) {
    unsigned char address[16];
    bool v6, pending = false;
    struct buf name = {0};
    out->iprev = IPREV_PERMERROR;
    out->client_name = "";
    if (!reverse_name(in->client_ip, &name, address, &v6)) return TRUST_DONE;
    const struct trust_answer *a = dns->lookup(dns->ctx, buf_slice(&name), TRUST_PTR);
    buf_free(&name);
    if (!a) return TRUST_PENDING;
    out->iprev = a->status == TRUST_DNS_FAILED ? IPREV_TEMPERROR : IPREV_FAIL;
    for (size_t i = 0; i < a->count && i < NAMES_MAX && a->status == TRUST_DNS_OK; i++) {
        const struct trust_answer *back = dns->lookup(dns->ctx, a->records[i].data, v6 ? TRUST_AAAA : TRUST_A);
        if (!back) {
            pending = true;
            continue;
        }
        for (size_t k = 0; k < back->count && back->status == TRUST_DNS_OK; k++)
            if (out->iprev != IPREV_PASS && back->records[k].data.n == (v6 ? 16u : 4u) && memcmp(back->records[k].data.p, address, v6 ? 16 : 4) == 0) {
                out->iprev = IPREV_PASS;
                out->client_name = arena_copy(arena, a->records[i].data);
            }
    }
    return pending && out->iprev != IPREV_PASS ? TRUST_PENDING : TRUST_DONE;
}

const char *iprev_text(const struct trust_result *r) {
    static const char *const words[] = {"pass", "fail", "temperror", "permerror"};
    return words[r->iprev];
}
