#include "libcommon/trust/verdict/trust_private.h"

const char *trust_disposition_text(enum trust_disposition d) {
    static const char *const words[] = {"accept", "quarantine", "hold", "reject", "tempfail"};
    return words[d];
}

/* Both identities of SPF (RFC 7208 §2.3, §2.4). With a null reverse-path they are one:
 * postmaster@HELO. */
static int check_spf(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns,
                     struct trust_result *out) {
    struct spf_query q = {.ip = in->client_ip,
                          .helo = in->helo,
                          .sender = in->mail_from,
                          .receiver = in->authserv_id,
                          .now = in->now,
                          .explain = in->explain};
    int pending = spf_check(arena, &q, dns, &out->spf);
    out->null_sender = !in->mail_from.n;
    out->helo_checked = !out->null_sender && in->helo.n;
    if (!out->helo_checked) return pending;
    q.helo_identity = true;
    return pending | spf_check(arena, &q, dns, &out->spf_helo);
}

/* A rank to compare the verdicts of two authors. From the worst: a fail, ordered by its policy; an
 * unknown result; no policy; a pass. */
static int severity(const struct dmarc_verdict *v) {
    switch (v->result) {
    case DMARC_FAIL: return 20 + (int)v->applied * 10;
    case DMARC_TEMPERROR: return v->uncertain ? 35 : 11;
    case DMARC_PERMERROR: return 12;
    case DMARC_NONE: return 10;
    case DMARC_PASS: return 0;
    }
    return 0;
}

static void without_author(struct arena *arena, const struct trust_authors *authors, struct dmarc_verdict *out) {
    *out = (struct dmarc_verdict){.relief = "",
                                  .from_domain = "",
                                  .record_domain = "",
                                  .organizational_domain = "",
                                  .steps = arena_alloc(arena, sizeof *out->steps)};
    out->result = authors->malformed ? DMARC_PERMERROR : DMARC_NONE; /* RFC 7489 §11.2: none, if there is no
                                                                        identifier to align with */
    out->reason = !authors->fields     ? "there is no From field"
                  : authors->malformed ? "the From field has no address with a domain name"
                                       : "the From field has no address with a domain";
}

int trust_check_authors(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns,
                        struct trust_result *out) {
    struct trust_authors authors;
    int pending = TRUST_DONE;
    trust_find_authors(arena, in->header, &authors);
    if (authors.too_many) {
        without_author(arena, &authors, &out->dmarc);
        out->dmarc.result = DMARC_PERMERROR;
        out->dmarc.reason = "From names authors of too many domains to look at each (RFC 9989 section 11.5)";
        out->disposition = TRUST_REJECT;
        out->enhanced = "5.7.1";
        out->reason = out->dmarc.reason;
        return TRUST_DONE;
    }
    if (!authors.count) without_author(arena, &authors, &out->dmarc);
    for (size_t i = 0; i < authors.count; i++) {
        struct dmarc_verdict one;
        struct dmarc_query q = {.from = authors.domains[i],
                                .spf = out->spf.result,
                                .spf_domain = slice_of(out->spf.domain),
                                .dkim_count = out->dkim_count,
                                .dkim = out->dkim,
                                .discovery = in->policy ? in->policy->discovery : DMARC_TREE_WALK,
                                .sampled = in->sampled,
                                .no_alignment = authors.fields > 1, /* RFC 9989 §4.4 */
                                .explain = in->explain};
        pending |= dmarc_check(arena, &q, dns, &one);
        if (i == 0 || severity(&one) > severity(&out->dmarc)) out->dmarc = one;
    }
    return pending;
}

int trust_verify(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns,
                 struct dkim_key_cache *cache, struct trust_result *out) {
    *out = (struct trust_result){.enhanced = "", .reason = ""};
    /* each requests its names before one of them waits, so that all are fetched together */
    int pending = check_spf(arena, in, dns, out);
    pending |= iprev_check(arena, in, dns, out);
    struct dkim_message m = {.header = in->header,
                             .digest_count = in->digest_count,
                             .digests = in->digests,
                             .now = in->now,
                             .explain = in->explain,
                             .ask_only = pending != TRUST_DONE}; /* signatures are verified once, in the last round */
    pending |= dkim_verify(arena, &m, dns, cache, &out->dkim_count, &out->dkim);
    m.ask_only = pending != TRUST_DONE;
    pending |= arc_verify(arena, &m, dns, cache, &out->arc);
    pending |= trust_check_authors(arena, in, dns, out);
    if (pending) return TRUST_PENDING;
    trust_decide(arena, in, out);
    results_find_foreign(arena, in, out);
    return TRUST_DONE;
}
