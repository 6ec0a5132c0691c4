/* Reverse DNS, forward-confirmed (RFC 8601 §2.7.3, §3). */
#include <arpa/inet.h>

#include "libcommon/base/buf.h"
#include "libcommon/trust/verdict/trust_private.h"

enum { NAMES_MAX = 10 };

/* "1.2.0.192.in-addr.arpa" of a textual address; false when it is not an address. Mapped IPv4
 * counts as IPv4. */
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

static void step(struct arena *arena, const struct trust_input *in, struct trust_result *out, const char *text,
                 struct slice name) {
    if (!in->explain) return;
    if (!out->iprev_steps) out->iprev_steps = arena_alloc(arena, TRUST_IPREV_STEPS_MAX * sizeof *out->iprev_steps);
    if (out->iprev_step_count < TRUST_IPREV_STEPS_MAX)
        out->iprev_steps[out->iprev_step_count++] = arena_printf(arena, "%.*s%s", SLICE_FMT(name), text);
}

/* Whether one of the name's addresses is the client's. */
static bool leads_back(const struct trust_answer *back, const unsigned char address[16], size_t bytes) {
    for (size_t k = 0; k < back->count && back->status == TRUST_DNS_OK; k++)
        if (back->records[k].data.n == bytes && memcmp(back->records[k].data.p, address, bytes) == 0) return true;
    return false;
}

int iprev_check(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns,
                struct trust_result *out) {
    unsigned char address[16];
    bool v6, pending = false, failed = false;
    struct buf text = {0};
    out->iprev = IPREV_PERMERROR; /* §2.7.3: no PTR record is published */
    out->client_name = "";
    if (!reverse_name(in->client_ip, &text, address, &v6)) return TRUST_DONE;
    struct slice reverse = arena_slice(arena, buf_slice(&text));
    buf_free(&text);
    const struct trust_answer *a = dns->lookup(dns->ctx, reverse, TRUST_PTR);
    if (!a) return TRUST_PENDING;
    if (a->status != TRUST_DNS_OK) {
        if (a->status == TRUST_DNS_FAILED) out->iprev = IPREV_TEMPERROR;
        step(arena, in, out, a->status == TRUST_DNS_FAILED ? ": DNS gave no answer" : " has no PTR record", reverse);
        return TRUST_DONE;
    }
    for (size_t i = 0; i < a->count && i < NAMES_MAX; i++) {
        struct slice name = a->records[i].data;
        const struct trust_answer *back = dns->lookup(dns->ctx, name, v6 ? TRUST_AAAA : TRUST_A);
        if (!back) {
            pending = true;
            continue;
        }
        bool fits = leads_back(back, address, v6 ? 16 : 4);
        failed |= back->status == TRUST_DNS_FAILED;
        if (fits && out->iprev != IPREV_PASS) {
            out->iprev = IPREV_PASS;
            out->client_name = arena_copy(arena, name);
        }
        step(arena, in, out,
             fits                               ? " leads back to the client"
             : back->status == TRUST_DNS_FAILED ? ": DNS gave no answer"
                                                : " does not lead back to the client",
             name);
    }
    if (out->iprev == IPREV_PASS) return TRUST_DONE;
    out->iprev = failed ? IPREV_TEMPERROR : IPREV_FAIL;
    return pending ? TRUST_PENDING : TRUST_DONE;
}

const char *iprev_text(const struct trust_result *r) {
    static const char *const words[] = {"pass", "fail", "temperror", "permerror"};
    return words[r->iprev];
}
