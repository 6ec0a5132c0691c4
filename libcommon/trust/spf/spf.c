/* The start of check_host() (RFC 7208 §2.3, §2.4, §4.1, §4.3): chooses the identity and the domain,
 * and reads the client's address. */
#include <arpa/inet.h>

#include "libcommon/mail/domain.h"
#include "libcommon/trust/spf/spf_evaluate.h"
#include "libcommon/trust/spf/spf_step.h"

enum { IDENTITY_SHOWN_MAX = 320 };

const char *spf_result_text(enum spf_result r) {
    static const char *const words[] = {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"};
    return words[r];
}

/* The client's address; IPv4 that is mapped into IPv6 is IPv4 (§5). */
static bool take_ip(struct spf_run *r, struct slice ip) {
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char text[INET6_ADDRSTRLEN + 1];
    if (!ip.n || ip.n >= sizeof text || memchr(ip.p, 0, ip.n)) return false;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = 0;
    if (inet_pton(AF_INET, text, r->ip) != 1) {
        if (inet_pton(AF_INET6, text, r->ip) != 1) return false;
        r->v6 = memcmp(r->ip, mapped, sizeof mapped) != 0;
        if (!r->v6) memmove(r->ip, r->ip + sizeof mapped, 4);
    }
    r->ip_text = arena_copy(r->arena, slice_of(inet_ntop(r->v6 ? AF_INET6 : AF_INET, r->ip, text, sizeof text)));
    return true;
}

/* Without final dot, U-labels as A-labels (RFC 8616 §4); text that is not a domain name is
 * unchanged. */
static struct slice to_ascii(struct arena *arena, struct slice domain) {
    char a_labels[DOMAIN_BYTES];
    if (domain.n && domain.p[domain.n - 1] == '.') domain.n--;
    for (size_t i = 0; i < domain.n; i++)
        if ((unsigned char)domain.p[i] >= 0x80)
            return domain_normalise(domain, a_labels) == 0 ? arena_slice(arena, slice_of(a_labels)) : domain;
    return domain;
}

int spf_check(struct arena *arena, const struct spf_query *q, const struct trust_dns *dns, struct spf_verdict *out) {
    struct spf_run r = {.arena = arena,
                        .query = q,
                        .dns = dns,
                        .out = out,
                        .local = SLICE("postmaster"),
                        .helo = to_ascii(arena, q->helo)};
    bool helo = q->helo_identity || !q->sender.n; /* §2.4: the null reverse-path means postmaster at
                                                     the HELO name */
    *out = (struct spf_verdict){.reason = "",
                                .scope = helo ? "helo" : "mfrom",
                                .domain = "",
                                .mechanism = "",
                                .record_domain = "",
                                .explanation = ""};
    if (q->explain) out->steps = arena_alloc(arena, SPF_STEPS_MAX * sizeof *out->steps);
    if (helo) {
        r.origin = r.helo;
    } else {
        ptrdiff_t at = slice_find_last(q->sender, '@');
        r.origin = to_ascii(arena, slice_skip(q->sender, (size_t)(at + 1)));
        if (at > 0) r.local = slice_head(q->sender, (size_t)at); /* §4.3: else postmaster */
    }
    out->domain = spf_printable(arena, r.origin, IDENTITY_SHOWN_MAX);
    if (!take_ip(&r, q->ip)) {
        out->reason = "the client has no IP address";
        return TRUST_DONE;
    }
    spf_step(&r, "may %s send for %s, the domain of %s %s?", r.ip_text, out->domain, helo ? "HELO" : "MAIL FROM",
             spf_printable(arena, helo ? q->helo : q->sender, IDENTITY_SHOWN_MAX));
    return spf_check_host(&r, r.origin, &out->result);
}
