#include "libcommon/trust/dmarc.h"

#include <libpsl.h>

#include "libcommon/mail/domain.h"
#include "libcommon/trust/tags.h"

const char *dmarc_result_text(enum dmarc_result r) {
    static const char *const words[] = {"none", "pass", "fail", "temperror", "permerror"};
    return words[r];
}

const char *dmarc_policy_text(enum dmarc_policy p) {
    static const char *const words[] = {"none", "quarantine", "reject"};
    return words[p];
}

static bool take_policy(struct slice v, enum dmarc_policy *out) {
    for (int p = 0; p < 3; p++)
        if (slice_is_nocase(v, dmarc_policy_text((enum dmarc_policy)p))) {
            *out = (enum dmarc_policy)p;
            return true;
        }
    return false;
}

int dmarc_record_parse(struct slice txt, struct dmarc_record *out) {
    struct slice rest = txt;
    struct tag tag;
    bool first = true, has_p = false, bad_p = false;
    uint64_t pct;
    int got;
    *out = (struct dmarc_record){.pct = 100, .psd = 'u'};
    while ((got = tag_next(&rest, &tag)) == 1) {
        if (first && (!slice_is(tag.name, "v") || !slice_is(tag.value, "DMARC1"))) return -1;
        first = false;
        if (slice_is(tag.name, "p")) {
            has_p = take_policy(tag.value, &out->p);
            bad_p = !has_p;
        } else if (slice_is(tag.name, "sp")) {
            out->has_sp = take_policy(tag.value, &out->sp);
            bad_p = bad_p || !out->has_sp;
        } else if (slice_is(tag.name, "np")) {
            out->has_np = take_policy(tag.value, &out->np);
        } else if (slice_is(tag.name, "adkim")) {
            out->strict_dkim = slice_is_nocase(tag.value, "s");
        } else if (slice_is(tag.name, "aspf")) {
            out->strict_spf = slice_is_nocase(tag.value, "s");
        } else if (slice_is(tag.name, "pct") && slice_to_u64(tag.value, 100, &pct) == 0) {
            out->pct = (int)pct;
        } else if (slice_is(tag.name, "t")) {
            out->testing = slice_is_nocase(tag.value, "y");
        } else if (slice_is(tag.name, "psd") && tag.value.n == 1) {
            out->psd = (char)(tag.value.p[0] | 0x20);
        } else if (slice_is(tag.name, "rua")) {
            out->rua = tag.value;
        } else if (slice_is(tag.name, "ruf")) {
            out->ruf = tag.value;
        }
    }
    if (first || (got < 0 && !has_p)) return -1;
    if (!has_p || bad_p) { /* §6.6.3, step 6 */
        if (!out->rua.n && bad_p) return -1;
        out->p = DMARC_POLICY_NONE;
        out->has_sp = false;
    }
    return 0;
}

struct slice dmarc_organizational_domain(struct slice name) {
    char text[DOMAIN_BYTES];
    const psl_ctx_t *psl = psl_builtin();
    if (!psl || domain_normalise(name, text) != 0 || strlen(text) != (name.n && name.p[name.n - 1] == '.' ? name.n - 1 : name.n)) return name;
    const char *registrable = psl_registrable_domain(psl, text);
    return registrable ? slice_skip(name, (size_t)(registrable - text)) : name;
}

/* The DMARC record at _dmarc.<domain>: 1 found, 0 none, -1 DNS failed, -2 pending. */
static int fetch(struct arena *arena, const struct trust_dns *dns, struct slice domain, struct dmarc_record *record) {
    const struct trust_answer *a = dns->lookup(dns->ctx, slice_of(arena_printf(arena, "_dmarc.%.*s", SLICE_FMT(domain))), TRUST_TXT);
    size_t count = 0;
    struct dmarc_record one;
    if (!a) return -2;
    if (a->status == TRUST_DNS_FAILED) return -1;
    for (size_t i = 0; i < a->count && a->status == TRUST_DNS_OK; i++)
        if (dmarc_record_parse(a->records[i].data, &one) == 0) {
            *record = one;
            count++;
        }
    return count == 1; /* several are none (§6.6.3, step 5) */
}

static bool aligned(struct slice a, struct slice from, struct slice from_organization, bool strict) {
    if (slice_equal_nocase(a, from)) return true;
    return !strict && slice_equal_nocase(dmarc_organizational_domain(a), from_organization);
}

int dmarc_check(struct arena *arena, struct slice from, const struct spf_verdict *spf, size_t dkim_count, const struct dkim_verdict dkim[],
                const struct trust_dns *dns, int sampled, struct dmarc_verdict *out) {
    *out = (struct dmarc_verdict){.result = DMARC_NONE, .reason = "", .from_domain = arena_copy(arena, from), .record_domain = ""};
    if (!from.n) {
        out->result = DMARC_PERMERROR;
        out->reason = "there is not exactly one From domain";
        return TRUST_DONE;
    }
    struct slice organization = dmarc_organizational_domain(from), at = from;
    bool is_sub = organization.n != from.n;
    int own = fetch(arena, dns, from, &out->record), above = is_sub && own != 1 ? fetch(arena, dns, organization, &out->record) : 0;
    if (own == -2 || above == -2) return TRUST_PENDING;
    if (own == -1 || (own == 0 && above == -1)) {
        out->result = DMARC_TEMPERROR;
        out->reason = "DNS gave no answer for the DMARC record";
        return TRUST_DONE;
    }
    if (own != 1 && above != 1) {
        out->reason = "the domain has no DMARC record";
        return TRUST_DONE;
    }
    out->policy = out->record.p;
    if (own != 1) {
        at = organization;
        if (out->record.has_sp) out->policy = out->record.sp;
        if (out->record.has_np) { /* DMARCbis: for names that do not exist */
            const struct trust_answer *a = dns->lookup(dns->ctx, from, TRUST_A);
            if (!a) return TRUST_PENDING;
            if (a->status == TRUST_DNS_NXDOMAIN) out->policy = out->record.np;
        }
    }
    out->record_domain = arena_copy(arena, at);
    for (size_t i = 0; i < dkim_count; i++) /* §3.1.1 */
        if (dkim[i].result == DKIM_PASS && aligned(dkim[i].signature.d, from, organization, out->record.strict_dkim)) out->dkim_aligned = true;
    if (spf->result == SPF_PASS && aligned(slice_of(spf->domain), from, organization, out->record.strict_spf)) out->spf_aligned = true; /* §3.1.2 */
    bool unsure = spf->result == SPF_TEMPERROR;
    for (size_t i = 0; i < dkim_count; i++) unsure = unsure || dkim[i].result == DKIM_TEMPERROR;
    if (out->dkim_aligned || out->spf_aligned) {
        out->result = DMARC_PASS;
        out->reason = out->dkim_aligned ? "an aligned DKIM signature passed" : "aligned SPF passed";
    } else if (unsure) {
        out->result = DMARC_TEMPERROR;
        out->reason = "nothing aligned passed, and DNS gave no answer for something that might have";
    } else {
        out->result = DMARC_FAIL;
        out->reason = "neither an aligned DKIM signature nor aligned SPF passed";
        if (out->record.testing || sampled >= out->record.pct) /* §6.6.4, DMARCbis t=: one step milder */
            out->policy = out->policy == DMARC_POLICY_REJECT ? DMARC_POLICY_QUARANTINE : DMARC_POLICY_NONE;
    }
    return TRUST_DONE;
}
