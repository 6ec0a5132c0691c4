/* Decides about the message from the results (RFC 9989 §5.3.6, §5.4): the record's policy, the
 * operator's overrides, and the text of a refusal. A result that is unknown because DNS did not
 * answer never leads to a refusal; the message is deferred if the answer could change the
 * decision. */
#include "libcommon/trust/verdict/trust_private.h"

static void add_reason(struct trust_result *out, const char *type, const char *comment) {
    if (out->override_count < TRUST_REASONS_MAX)
        out->overrides[out->override_count++] = (struct trust_reason){type, comment};
}

static void refuse(struct trust_result *out, const char *enhanced, const char *reason) {
    out->disposition = TRUST_REJECT;
    out->enhanced = enhanced;
    out->reason = reason;
}

/* For domain owners this is a quarantine: the message is treated as suspicious (RFC 9989 §4.7). */
static void hold(struct arena *arena, struct trust_result *out) {
    out->disposition = TRUST_HOLD;
    out->reason = arena_printf(arena, "held by this site's policy: DMARC failed for %s: %s", out->dmarc.from_domain,
                               out->dmarc.reason);
}

/* The operator's row that matches, or NULL. */
static const struct trust_override *find_override(const struct trust_input *in, const struct trust_result *r) {
    const struct trust_policy *p = in->policy;
    for (size_t i = 0; p && i < p->override_count; i++) {
        const struct trust_override *o = &p->overrides[i];
        if (!trust_override_fits_domain(o->from, slice_of(r->dmarc.from_domain)) ||
            !trust_override_fits_client(o, in->client_ip))
            continue;
        if (o->spf.n && (r->spf.result != SPF_PASS || !trust_override_fits_domain(o->spf, slice_of(r->spf.domain))))
            continue;
        if (o->sealer.n &&
            (r->arc.result != ARC_PASS || !trust_override_fits_domain(o->sealer, slice_of(r->arc.sealer))))
            continue;
        return o;
    }
    return NULL;
}

static enum dmarc_policy policy_of(enum trust_action a) {
    return a == TRUST_ACTION_REJECT                                 ? DMARC_POLICY_REJECT
           : a == TRUST_ACTION_QUARANTINE || a == TRUST_ACTION_HOLD ? DMARC_POLICY_QUARANTINE
                                                                    : DMARC_POLICY_NONE;
}

/* DMARC failed, or may have failed: the action that follows from it. */
static enum dmarc_policy weigh_failure(struct arena *arena, const struct trust_input *in, struct trust_result *out) {
    const struct trust_override *o = find_override(in, out);
    const char *chain;
    if (o) {
        add_reason(out, "local_policy", arena_printf(arena, "%.*s", SLICE_FMT(o->text)));
        if (o->action == TRUST_ACTION_HOLD) hold(arena, out);
        return policy_of(o->action);
    }
    if (out->dmarc.policy != DMARC_POLICY_NONE && (chain = trust_chain_vouches(arena, in, out))) {
        add_reason(out, "local_policy", chain); /* RFC 8617 §7.2.2 */
        return DMARC_POLICY_NONE;
    }
    if (*out->dmarc.relief)
        add_reason(out, out->dmarc.relief,
                   out->dmarc.record.testing ? "t=y: one step milder than the policy"
                                             : "pct: one step milder than the policy for this message");
    return out->dmarc.applied;
}

/* RFC 7372 §3: 5.7.26 when more than one check failed; RFC 9989 §7.2: 5.7.1 and the word DMARC. */
static void refuse_by_dmarc(struct arena *arena, struct trust_result *out) {
    bool both = out->dkim_count && out->spf.result != SPF_NONE;
    refuse(out, both ? "5.7.26" : "5.7.1",
           out->override_count
               ? arena_printf(arena, "refused by this site's policy: DMARC failed for %s: %s", out->dmarc.from_domain,
                              out->dmarc.reason)
               : arena_printf(arena, "refused by the DMARC policy of %s: the sender could not be proven: %s",
                              out->dmarc.from_domain, out->dmarc.reason));
}

void trust_decide(struct arena *arena, const struct trust_input *in, struct trust_result *out) {
    if (out->disposition == TRUST_REJECT) return; /* not all of it could be checked */
    if (out->dmarc.result == DMARC_FAIL) {
        out->dmarc_disposition = weigh_failure(arena, in, out);
        if (out->dmarc_disposition == DMARC_POLICY_REJECT)
            refuse_by_dmarc(arena, out);
        else if (out->dmarc_disposition == DMARC_POLICY_QUARANTINE && out->disposition != TRUST_HOLD)
            out->disposition = TRUST_QUARANTINE;
    } else if (out->dmarc.result == DMARC_TEMPERROR && out->dmarc.uncertain) {
        const struct trust_override *o = find_override(in, out);
        if (o && policy_of(o->action) == DMARC_POLICY_NONE) { /* the message is accepted with any
                                                                 answer */
            add_reason(out, "local_policy", arena_printf(arena, "%.*s", SLICE_FMT(o->text)));
        } else {
            out->disposition = TRUST_TEMPFAIL;
            out->enhanced = "4.7.0";
            out->reason = arena_printf(arena, "the sender cannot be verified now: %s (DMARC of %s); try again",
                                       out->dmarc.reason, out->dmarc.from_domain);
        }
    }
    if (out->disposition != TRUST_ACCEPT || !in->policy) return;
    if (in->policy->reject_spf_fail && out->spf.result == SPF_FAIL &&
        out->dmarc.result == DMARC_NONE) /* RFC 7208 §8.4, RFC 7372 §3.2 */
        refuse(out, "5.7.23", arena_printf(arena, "SPF: %s does not let this client send for it", out->spf.domain));
    else if (in->policy->reject_iprev_fail && (out->iprev == IPREV_FAIL || out->iprev == IPREV_PERMERROR) &&
             out->dmarc.result != DMARC_PASS) /* RFC 7372 §3.3 */
        refuse(out, "5.7.25", "the client's address has no name that leads back to it (reverse DNS)");
}
