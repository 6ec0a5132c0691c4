/* The DMARC evaluation of one message for one author domain (RFC 9989 §5.3). */
#include "libcommon/trust/dmarc/dmarc.h"

#include "libcommon/mail/domain.h"

enum { STEP_TEXT_MAX = 500 };

/* The alignment of an identifier, as far as it is known. */
enum alignment { ALIGNED, NOT_ALIGNED, ALIGNMENT_UNKNOWN /* DNS failed */, ALIGNMENT_PENDING };

struct check {
    struct arena *arena;
    const struct dmarc_query *query;
    const struct trust_dns *dns;
    struct dmarc_verdict *out;
    struct dmarc_walk walk; /* from the author domain up */
    bool walked, listed;    /* the walk is done; its steps are in the explanation */
    struct {
        struct slice domain;
        enum alignment alignment;
    } seen[DMARC_IDENTIFIERS_MAX]; /* so that there is one walk from each domain */
    size_t seen_count;
};

static void step(struct check *c, const char *text) {
    if (c->query->explain && c->out->step_count < DMARC_STEPS_MAX) c->out->steps[c->out->step_count++] = text;
}

static void step_stop(struct check *c, const struct dmarc_stop *s) {
    static const char *const words[] = {"no DMARC record", "",
                                        "several DMARC records: all of them are discarded (RFC 9989 section 4.10)",
                                        "DNS gave no answer"};
    if (!c->query->explain) return;
    if (s->found == DMARC_FOUND_RECORD)
        step(c, arena_printf(c->arena, "_dmarc.%.*s: %.*s", SLICE_FMT(s->domain),
                             SLICE_FMT(slice_head(s->text, STEP_TEXT_MAX))));
    else
        step(c, arena_printf(c->arena, "_dmarc.%.*s: %s", SLICE_FMT(s->domain), words[s->found]));
}

/* The author domain's walk, once, when it is needed. */
static int author_walk(struct check *c) {
    if (c->walked) return TRUST_DONE;
    if (dmarc_walk(c->arena, c->dns, c->query->from, c->query->discovery, &c->walk) == TRUST_PENDING)
        return TRUST_PENDING;
    c->walked = true;
    for (size_t i = 1; i < c->walk.count; i++)
        step_stop(c, &c->walk.stops[i]); /* the first is already in the explanation */
    if (c->walk.no_answer) return TRUST_DONE;
    c->out->organizational_domain = arena_copy(c->arena, c->walk.organization);
    if (c->query->explain)
        step(c, arena_printf(c->arena, "the organizational domain of %.*s is %s", SLICE_FMT(c->query->from),
                             c->out->organizational_domain));
    return TRUST_DONE;
}

static bool is_within(struct slice name, struct slice domain) {
    return slice_equal(name, domain) || (name.n > domain.n && name.p[name.n - domain.n - 1] == '.' &&
                                         slice_equal(slice_skip(name, name.n - domain.n), domain));
}

/* Relaxed alignment (§4.4, §4.10.2): the same organizational domain. */
static enum alignment relaxed(struct check *c, struct slice domain) {
    struct dmarc_walk walk;
    for (size_t i = 0; i < c->seen_count; i++)
        if (slice_equal(c->seen[i].domain, domain)) return c->seen[i].alignment;
    if (author_walk(c) == TRUST_PENDING) return ALIGNMENT_PENDING;
    if (c->walk.no_answer) {
        /* the author's organizational domain is one of the queried names, and the other domain
         * would have to be within it */
        return is_within(domain, c->walk.stops[c->walk.count - 1].domain) ? ALIGNMENT_UNKNOWN : NOT_ALIGNED;
    }
    if (!is_within(domain, c->walk.organization))
        return NOT_ALIGNED; /* the organizational domain is the name itself or above it */
    if (c->query->discovery == DMARC_PUBLIC_SUFFIXES)
        return slice_equal(dmarc_organizational_domain(domain), c->walk.organization) ? ALIGNED : NOT_ALIGNED;
    if (c->seen_count == DMARC_IDENTIFIERS_MAX) return NOT_ALIGNED;
    if (dmarc_walk(c->arena, c->dns, domain, DMARC_TREE_WALK, &walk) == TRUST_PENDING) return ALIGNMENT_PENDING;
    enum alignment found = walk.no_answer                                         ? ALIGNMENT_UNKNOWN
                           : slice_equal(walk.organization, c->walk.organization) ? ALIGNED
                                                                                  : NOT_ALIGNED;
    c->seen[c->seen_count].domain = domain;
    c->seen[c->seen_count++].alignment = found;
    if (c->query->explain && !walk.no_answer)
        step(c, arena_printf(c->arena, "the organizational domain of %.*s is %.*s", SLICE_FMT(domain),
                             SLICE_FMT(walk.organization)));
    return found;
}

/* Whether an identifier's domain (in any form) is aligned with the author domain. */
static enum alignment alignment_of(struct check *c, struct slice domain, bool strict) {
    char text[DOMAIN_BYTES];
    if (c->query->no_alignment || domain_normalise(domain, text) != 0) return NOT_ALIGNED;
    if (slice_is(c->query->from, text)) return ALIGNED;
    return strict ? NOT_ALIGNED : relaxed(c, slice_of(arena_copy(c->arena, slice_of(text))));
}

static void step_alignment(struct check *c, const char *what, struct slice domain, const char *result, bool strict,
                           enum alignment a) {
    static const char *const words[] = {"aligned", "not aligned",
                                        "it is not known whether it is aligned, for lack of DNS answers", ""};
    if (c->query->explain && a != ALIGNMENT_PENDING)
        step(c, arena_printf(c->arena, "%s %s for %.*s: %s with %.*s (%s)", what, result,
                             SLICE_FMT(slice_head(domain, STEP_TEXT_MAX)), words[a], SLICE_FMT(c->query->from),
                             strict ? "strict" : "relaxed"));
}

/* The results of SPF and DKIM: whether each passed and is aligned, and whether an unknown one could
 * be. */
struct proofs {
    bool spf, dkim, unsure;
};

/* TRUST_PENDING as elsewhere. The alignment of an identifier that failed is not needed. */
static int weigh(struct check *c, bool strict_spf, bool strict_dkim, struct proofs *p) {
    const struct dmarc_query *q = c->query;
    bool pending = false;
    *p = (struct proofs){0};
    if (q->spf == SPF_PASS || q->spf == SPF_TEMPERROR) {
        enum alignment a = alignment_of(c, q->spf_domain, strict_spf);
        pending |= a == ALIGNMENT_PENDING;
        p->spf = q->spf == SPF_PASS && a == ALIGNED;
        p->unsure |= a == ALIGNMENT_UNKNOWN || (q->spf == SPF_TEMPERROR && a == ALIGNED);
        step_alignment(c, "SPF", q->spf_domain, spf_result_text(q->spf), strict_spf, a);
    } else {
        step(c, arena_printf(c->arena, "SPF does not pass (%s)", spf_result_text(q->spf)));
    }
    for (size_t i = 0; i < q->dkim_count; i++) {
        const struct dkim_verdict *d = &q->dkim[i];
        if (d->result != DKIM_PASS && d->result != DKIM_TEMPERROR) continue;
        if (p->dkim && !q->explain) break; /* one is enough (§4.4.1) */
        enum alignment a = alignment_of(c, d->signature.d, strict_dkim);
        pending |= a == ALIGNMENT_PENDING;
        p->dkim |= d->result == DKIM_PASS && a == ALIGNED;
        p->unsure |= a == ALIGNMENT_UNKNOWN || (d->result == DKIM_TEMPERROR && a == ALIGNED);
        step_alignment(c, "DKIM", d->signature.d, dkim_result_text(d->result), strict_dkim, a);
    }
    return pending ? TRUST_PENDING : TRUST_DONE;
}

/* The record that applies (§4.10.1): the author domain's, else its organizational domain's, else
 * its public suffix domain's. NULL with *failed or without. */
static int discover(struct check *c, const struct dmarc_stop **found, bool *failed) {
    struct dmarc_stop *own = arena_alloc(c->arena, sizeof *own);
    *own = (struct dmarc_stop){.domain = c->query->from};
    *found = NULL;
    *failed = false;
    if (dmarc_look(c->arena, c->dns, own) == TRUST_PENDING) return TRUST_PENDING;
    step_stop(c, own);
    *failed = own->found == DMARC_FOUND_NO_ANSWER;
    if (own->found == DMARC_FOUND_RECORD) *found = own;
    if (*failed || *found) return TRUST_DONE;
    /* RFC 7489 §6.6.3 step 5 ends here when there are several; RFC 9989 §4.10 step 2 discards them
     * and continues */
    if (own->found == DMARC_FOUND_SEVERAL && c->query->discovery == DMARC_PUBLIC_SUFFIXES) return TRUST_DONE;
    if (author_walk(c) == TRUST_PENDING) return TRUST_PENDING;
    *failed = c->walk.no_answer;
    for (size_t i = 0; i < c->walk.count && !*failed && !*found; i++)
        if (c->walk.stops[i].found == DMARC_FOUND_RECORD && slice_equal(c->walk.stops[i].domain, c->walk.organization))
            *found = &c->walk.stops[i];
    if (!*failed && !*found && c->walk.suffix >= 0) *found = &c->walk.stops[c->walk.suffix];
    return TRUST_DONE;
}

/* The policy for this author (§4.7, §4.10.1). *unsure: the author domain's existence (§3.2.13) is
 * not known, and matters. */
static int choose_policy(struct check *c, const struct dmarc_stop *at, bool *unsure) {
    const struct dmarc_record *r = &at->record;
    struct dmarc_verdict *out = c->out;
    enum dmarc_policy existing = r->has_sp ? r->sp : r->p;
    *unsure = false;
    out->policy = r->p;
    if (slice_equal(at->domain, c->query->from)) return TRUST_DONE;
    out->policy = existing;
    if (!r->has_np || r->np == existing || (c->walk.count && c->walk.stops[0].name_exists)) return TRUST_DONE;
    const struct trust_answer *a = c->dns->lookup(c->dns->ctx, c->query->from, TRUST_A);
    if (!a) return TRUST_PENDING;
    if (a->status == TRUST_DNS_NXDOMAIN) {
        out->policy = r->np;
        if (c->query->explain)
            step(c, arena_printf(c->arena, "%.*s does not exist: np applies", SLICE_FMT(c->query->from)));
    } else if (a->status == TRUST_DNS_FAILED) {
        *unsure = true;
        out->policy = r->np > existing ? r->np : existing;
    }
    return TRUST_DONE;
}

/* Applies t (§4.7) and, in a record without t, pct (RFC 7489 §6.6.4), which make the policy
 * milder. */
static void relieve(struct dmarc_verdict *out, int sampled) {
    out->applied = out->policy;
    if (out->policy == DMARC_POLICY_NONE) return;
    if (out->record.testing)
        out->relief = "policy_test_mode";
    else if (sampled >= out->record.pct)
        out->relief = "sampled_out";
    else
        return;
    out->applied = out->policy == DMARC_POLICY_REJECT ? DMARC_POLICY_QUARANTINE : DMARC_POLICY_NONE;
}

/* The record is not available. A message that passes with every possible record needs none
 * (identical domains align in every mode). */
static int without_answer(struct check *c) {
    struct proofs p;
    struct dmarc_verdict *out = c->out;
    int pending = weigh(c, true, true, &p); /* strict: no further question */
    out->result = DMARC_TEMPERROR;
    out->uncertain = !p.spf && !p.dkim;
    out->spf_aligned = p.spf;
    out->dkim_aligned = p.dkim;
    out->reason = "DNS gave no answer for the DMARC record";
    return pending;
}

int dmarc_check(struct arena *arena, const struct dmarc_query *q, const struct trust_dns *dns,
                struct dmarc_verdict *out) {
    struct check *c = arena_alloc(arena, sizeof *c);
    const struct dmarc_stop *at;
    bool failed, policy_unsure;
    struct proofs p;
    *c = (struct check){.arena = arena, .query = q, .dns = dns, .out = out};
    *out = (struct dmarc_verdict){.reason = "",
                                  .relief = "",
                                  .from_domain = arena_copy(arena, q->from),
                                  .record_domain = "",
                                  .organizational_domain = ""};
    if (q->explain) out->steps = arena_alloc(arena, DMARC_STEPS_MAX * sizeof *out->steps);
    if (discover(c, &at, &failed) == TRUST_PENDING) return TRUST_PENDING;
    if (failed) return without_answer(c);
    if (!at) { /* §4.10.1: then DMARC does not apply */
        out->reason = "the domain has no DMARC record";
        return TRUST_DONE;
    }
    out->record_domain = arena_copy(arena, at->domain);
    if (!at->record.usable) {
        out->reason = "the DMARC record has no valid policy and no address for reports: it does not count (RFC 9989 "
                      "section 4.10.1)";
        step(c, out->reason);
        return TRUST_DONE;
    }
    out->has_record = true;
    out->record = at->record;
    int pending = weigh(c, at->record.strict_spf, at->record.strict_dkim, &p);
    pending |= choose_policy(c, at, &policy_unsure);
    if (pending) return TRUST_PENDING;
    out->spf_aligned = p.spf;
    out->dkim_aligned = p.dkim;
    if (p.spf || p.dkim) { /* §5.3.5 */
        out->result = DMARC_PASS;
        out->reason = p.dkim ? "an aligned DKIM signature passed" : "aligned SPF passed";
        out->applied = out->policy;
        return TRUST_DONE;
    }
    relieve(out, q->sampled);
    if (p.unsure || policy_unsure) { /* §5.3.6: neither pass nor fail */
        out->result = DMARC_TEMPERROR;
        out->uncertain = out->applied != DMARC_POLICY_NONE;
        out->reason =
            p.unsure
                ? "nothing aligned passed, and DNS gave no answer for something that might have"
                : "nothing aligned passed, and DNS does not say whether the domain exists, on which the policy depends";
        return TRUST_DONE;
    }
    out->result = DMARC_FAIL;
    out->reason = q->no_alignment ? "the From field is there more than once: nothing can be aligned with it"
                                  : "neither an aligned DKIM signature nor aligned SPF passed";
    return TRUST_DONE;
}
