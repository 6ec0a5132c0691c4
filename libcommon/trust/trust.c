#include "libcommon/mail/header.h"
#include "libcommon/trust/trust_private.h"

const char *trust_disposition_text(enum trust_disposition d) {
    static const char *const words[] = {"accept", "quarantine", "reject", "tempfail"};
    return words[d];
}

/* The domain of the one From address; empty when there are none or several of different domains (RFC 7489 §6.6.1). */
static struct slice from_domain(struct slice header) {
    struct header_field f;
    struct slice domain = SLICE("");
    if (header_count(header, "From") != 1 || !header_find(header, "From", &f)) return domain;
    bool quote = false;
    int comment = 0;
    for (size_t i = 0; i < f.value.n; i++) { /* every "@domain" outside quotes and comments */
        char c = f.value.p[i];
        if (c == '\\')
            i++;
        else if (c == '"' && !comment)
            quote = !quote;
        else if (c == '(' && !quote)
            comment++;
        else if (c == ')' && comment)
            comment--;
        else if (c == '@' && !quote && !comment) {
            size_t n = i + 1;
            while (n < f.value.n && !strchr(" \t\r\n>,;()<\"", f.value.p[n])) n++;
            struct slice found = slice_make(f.value.p + i + 1, n - i - 1);
            if (domain.n && !slice_equal_nocase(domain, found)) return SLICE("");
            domain = found;
            i = n - 1;
        }
    }
    if (domain.n && domain.p[domain.n - 1] == '.') domain.n--;
    return domain;
}

static void decide(struct trust_result *out) {
    out->disposition = TRUST_ACCEPT;
    out->enhanced = out->reason = "";
    if (out->dmarc.result == DMARC_TEMPERROR && out->dmarc.policy != DMARC_POLICY_NONE) {
        out->disposition = TRUST_TEMPFAIL; /* never a guess: it might have passed */
        out->enhanced = "4.7.0";
        out->reason = "the sender cannot be verified now: DNS gave no answer; try again";
    } else if (out->dmarc.result == DMARC_FAIL && out->dmarc.policy == DMARC_POLICY_REJECT) {
        out->disposition = TRUST_REJECT;
        out->enhanced = "5.7.1"; /* RFC 7489 §10.3 */
        out->reason = "the sender could not be proven: the From domain's DMARC policy is reject, and neither DKIM nor SPF passed for it";
    } else if (out->dmarc.result == DMARC_FAIL && out->dmarc.policy == DMARC_POLICY_QUARANTINE) {
        out->disposition = TRUST_QUARANTINE;
    }
}

int trust_verify(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns, struct dkim_key_cache *cache, struct trust_result *out) {
    struct spf_query spf = {
        .ip = in->client_ip, .helo = in->helo, .sender = in->mail_from, .receiver = in->authserv_id, .now = in->now, .explain = in->explain};
    *out = (struct trust_result){0};
    /* each asks for what it needs before any of them waits: what can be fetched together is */
    int pending = spf_check(arena, &spf, dns, &out->spf) | iprev_check(arena, in, dns, out);
    struct dkim_message m = {.header = in->header,
                             .digest_count = in->digest_count,
                             .digests = in->digests,
                             .now = in->now,
                             .explain = in->explain,
                             .ask_only = pending != TRUST_DONE}; /* arithmetic is done once, in the last round */
    pending |= dkim_verify(arena, &m, dns, cache, &out->dkim_count, &out->dkim);
    m.ask_only = pending != TRUST_DONE;
    pending |= arc_verify(arena, &m, dns, cache, &out->arc);
    pending |= dmarc_check(arena, from_domain(in->header), &out->spf, out->dkim_count, out->dkim, dns, in->sampled, &out->dmarc);
    if (pending) return TRUST_PENDING;
    decide(out);
    results_find_foreign(arena, in, out);
    return TRUST_DONE;
}
