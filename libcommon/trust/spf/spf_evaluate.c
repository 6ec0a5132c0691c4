/* check_host() of one domain: its record, and the terms of it from left to right (RFC 7208 §4.4 to
 * §4.7, §5.1, §5.2, §6). include and redirect are recursive; the depth is bounded by the ten terms
 * that may query DNS. */
#include "libcommon/trust/spf/spf_evaluate.h"

#include "libcommon/trust/spf/spf_mechanism.h"
#include "libcommon/trust/spf/spf_record.h"
#include "libcommon/trust/spf/spf_step.h"

enum { EXPLANATION_MAX = 500 };

static const char *shown(struct spf_run *r, struct slice name) {
    return spf_printable(r->arena, name, SPF_NAME_SHOWN_MAX);
}

/* A domain to check is a name of several labels (§4.3), not an address literal or an address. */
static bool is_host_name(struct slice d) {
    ptrdiff_t dot = slice_find_last(d, '.');
    if (dot < 0 || !spf_is_dns_name(d) || d.p[0] == '[') return false;
    for (size_t i = 0; i < d.n; i++)
        if (d.p[i] <= ' ' || d.p[i] >= 0x7f)
            return false; /* char is signed: this also excludes bytes that are not ASCII */
    for (size_t i = (size_t)dot + 1; i < d.n; i++)
        if (d.p[i] < '0' || d.p[i] > '9') return true;
    return false;
}

/* Expands a domain-spec: SPF_NO_MATCH with *target (empty: no name can match, RFC 8616 §4), or the
 * step that ends the evaluation. */
static enum spf_step expand(struct spf_run *r, struct slice spec, struct slice domain, bool counted,
                            struct slice *target) {
    struct spf_macros m = {
        .local = r->local, .origin = r->origin, .domain = domain, .helo = r->helo, .ip = r->ip, .v6 = r->v6};
    *target = SLICE("");
    if (spf_has_p_macro(spec)) {
        enum spf_step s = spf_validated_name(r, domain, counted, &m.validated);
        if (s != SPF_NO_MATCH) return s;
    }
    switch (spf_expand(r->arena, spec, &m, false, target)) {
    case SPF_MALFORMED: return spf_wrong(r, "a macro is malformed");
    case SPF_UNMATCHABLE:
        spf_step(r,
                 "a macro stands for a local part or name that is not ASCII: it matches nothing (RFC 8616 section 4)");
        break;
    case SPF_EXPANDED:
        if (slice_find(spec, '%') >= 0)
            spf_step(r, "%s is %s", spf_printable(r->arena, spec, SPF_TERM_SHOWN_MAX), shown(r, *target));
        break;
    }
    return SPF_NO_MATCH;
}

/* include: the record of another domain as a condition, by the table of §5.2. */
static enum spf_step include(struct spf_run *r, struct slice target) {
    enum spf_result inner;
    r->depth++;
    int pending = spf_check_host(r, target, &inner);
    r->depth--;
    if (pending) return SPF_STOP_PENDING;
    switch (inner) {
    case SPF_PASS: return SPF_MATCH;
    case SPF_FAIL:
    case SPF_SOFTFAIL:
    case SPF_NEUTRAL: return SPF_NO_MATCH;
    case SPF_TEMPERROR: return SPF_STOP_TEMP;
    case SPF_NONE:
        return spf_wrong(r, arena_printf(r->arena, "the included domain %s has no SPF record", shown(r, target)));
    case SPF_PERMERROR: break;
    }
    return SPF_STOP_PERM;
}

static bool asks_dns(const struct spf_term *t) {
    return t->kind != SPF_ALL && t->kind != SPF_IP4 && t->kind != SPF_IP6;
}

static enum spf_step evaluate_term(struct spf_run *r, const struct spf_term *t, struct slice domain) {
    struct slice target = domain;
    if (t->kind == SPF_ALL) return SPF_MATCH; /* §5.1 */
    if (asks_dns(t)) {
        if (++r->out->lookups > SPF_LOOKUPS_MAX) return spf_wrong(r, SPF_TOO_MANY_TERMS);
        if (t->spec.n) {
            enum spf_step s = expand(r, t->spec, domain, true, &target);
            if (s != SPF_NO_MATCH || !target.n) return s;
        }
    }
    return t->kind == SPF_INCLUDE ? include(r, target) : spf_mechanism(r, t, target);
}

/* While an answer is pending, the first lookups of the following terms are requested too, within
 * the limit on terms, so that a record with many includes needs one round instead of one for
 * each. */
static void ask_ahead(struct spf_run *r, struct slice terms, struct slice domain) {
    struct slice word;
    struct spf_term t;
    while (spf_next_word(&terms, &word) && r->out->lookups + r->ahead < SPF_LOOKUPS_MAX) {
        spf_term_parse(word, &t);
        if (t.kind == SPF_ALL) return;
        bool include = t.kind == SPF_INCLUDE, mx = t.kind == SPF_MX;
        if ((!include && !mx && t.kind != SPF_A && t.kind != SPF_EXISTS) || slice_find(t.spec, '%') >= 0) continue;
        struct slice name = t.spec.n ? t.spec : domain;
        if (name.p[name.n - 1] == '.') name.n--;
        r->ahead++;
        spf_lookup(r, name, include ? TRUST_TXT : mx ? TRUST_MX : t.kind == SPF_A && r->v6 ? TRUST_AAAA : TRUST_A);
    }
}

/* Fetches the explanation (§6.2): after any error there is none. It does not count towards a limit
 * (§4.6.4). */
static int explain(struct spf_run *r, struct slice spec, struct slice domain) {
    struct slice name, text;
    struct spf_macros m = {.local = r->local,
                           .origin = r->origin,
                           .domain = domain,
                           .helo = r->helo,
                           .ip = r->ip,
                           .v6 = r->v6,
                           .receiver = r->query->receiver,
                           .now = r->query->now};
    const char *reason = r->out->reason; /* the reason of the result, which must not change here */
    enum spf_step s = expand(r, spec, domain, false, &name);
    r->out->reason = reason;
    if (s != SPF_NO_MATCH) return s == SPF_STOP_PENDING ? TRUST_PENDING : TRUST_DONE;
    const struct trust_answer *a = spf_lookup(r, name, TRUST_TXT);
    if (!a) return TRUST_PENDING;
    if (a->status != TRUST_DNS_OK || a->count != 1) {
        spf_step(r, "%s TXT: no explanation, or more than one", shown(r, name));
        return TRUST_DONE;
    }
    struct slice written = a->records[0].data;
    if (spf_has_p_macro(written)) s = spf_validated_name(r, domain, false, &m.validated);
    r->out->reason = reason;
    if (s != SPF_NO_MATCH) return s == SPF_STOP_PENDING ? TRUST_PENDING : TRUST_DONE;
    spf_step(r, "%s TXT: %s", shown(r, name), spf_printable(r->arena, written, SPF_RECORD_SHOWN_MAX));
    if (spf_expand(r->arena, written, &m, true, &text) != SPF_EXPANDED) return TRUST_DONE;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < ' ' || text.p[i] >= 0x7f)
            return TRUST_DONE; /* §6.2: must be US-ASCII; a local part may contain other bytes */
    r->out->explanation = arena_copy(r->arena, slice_head(text, EXPLANATION_MAX));
    return TRUST_DONE;
}

/* redirect: another domain's record in this one's place (§6.1). */
static int redirect_to(struct spf_run *r, struct slice spec, struct slice domain, enum spf_result *result) {
    struct slice target;
    *result = SPF_PERMERROR;
    if (++r->out->lookups > SPF_LOOKUPS_MAX) {
        spf_wrong(r, SPF_TOO_MANY_TERMS);
        return TRUST_DONE;
    }
    enum spf_step s = expand(r, spec, domain, true, &target);
    if (s == SPF_STOP_PENDING) return TRUST_PENDING;
    if (s != SPF_NO_MATCH) return TRUST_DONE;
    spf_step(r, "%s: redirect to %s", shown(r, domain), shown(r, target));
    if (spf_check_host(r, target, result)) return TRUST_PENDING;
    if (*result == SPF_NONE) {
        *result = SPF_PERMERROR;
        spf_wrong(r, arena_printf(r->arena, "the redirect leads to %s, which has no SPF record", shown(r, target)));
    }
    return TRUST_DONE;
}

static enum spf_result qualified(char q) {
    return q == '-' ? SPF_FAIL : q == '~' ? SPF_SOFTFAIL : q == '?' ? SPF_NEUTRAL : SPF_PASS;
}

/* This term decides the result, or none does ("default"). Inside an include, the including term
 * decides. */
static void decided(struct spf_run *r, const char *term, struct slice domain) {
    if (r->depth) return;
    r->out->mechanism = term;
    r->out->record_domain = shown(r, domain);
    r->out->reason = strcmp(term, "default") == 0
                         ? arena_printf(r->arena, "nothing in the record of %s matches", r->out->record_domain)
                         : arena_printf(r->arena, "%s of %s matches", term, r->out->record_domain);
}

/* The terms after "v=spf1". A syntax error anywhere is found before anything is evaluated
 * (§4.6). */
static int evaluate(struct spf_run *r, struct slice terms, struct slice domain, enum spf_result *result) {
    struct slice redirect, exp, word;
    struct spf_term t;
    const char *wrong = spf_record_parse(terms, &redirect, &exp, &word);
    *result = SPF_PERMERROR;
    if (wrong) {
        spf_wrong(r, arena_printf(r->arena, "the record of %s has a syntax error: %s: %s", shown(r, domain), wrong,
                                  spf_printable(r->arena, word, SPF_TERM_SHOWN_MAX)));
        return TRUST_DONE;
    }
    while (spf_next_word(&terms, &word)) {
        spf_term_parse(word, &t);
        if (spf_term_is_modifier(&t)) continue;
        if (t.kind == SPF_INCLUDE)
            spf_step(r, "%s: looking into %s", shown(r, domain), spf_printable(r->arena, word, SPF_TERM_SHOWN_MAX));
        enum spf_step s = evaluate_term(r, &t, domain);
        if (s == SPF_STOP_PENDING) {
            ask_ahead(r, terms, domain);
            return TRUST_PENDING;
        }
        if (s == SPF_STOP_TEMP) *result = SPF_TEMPERROR;
        if (s == SPF_STOP_TEMP || s == SPF_STOP_PERM) return TRUST_DONE;
        const char *term = s == SPF_MATCH || r->query->explain ? spf_printable(r->arena, word, SPF_TERM_SHOWN_MAX) : "";
        const char *counts =
            r->query->explain && asks_dns(&t)
                ? arena_printf(r->arena, " (%d of %d terms that may ask DNS, %d of %d lookups in vain)",
                               r->out->lookups, SPF_LOOKUPS_MAX, r->out->void_lookups, SPF_VOID_MAX)
                : "";
        spf_step(r, "%s: %s %s%s", shown(r, domain), term, s == SPF_MATCH ? "matches" : "does not match", counts);
        if (s == SPF_NO_MATCH) continue;
        *result = qualified(t.qualifier);
        decided(r, term, domain);
        return *result == SPF_FAIL && exp.n && !r->depth ? explain(r, exp, domain) : TRUST_DONE;
    }
    if (redirect.n) return redirect_to(r, redirect, domain, result);
    *result = SPF_NEUTRAL; /* §4.7 */
    decided(r, "default", domain);
    return TRUST_DONE;
}

int spf_check_host(struct spf_run *r, struct slice domain, enum spf_result *result) {
    static const struct slice version = {"v=spf1", 6};
    struct slice record = {0};
    size_t count = 0;
    *result = SPF_NONE;
    if (!is_host_name(domain)) {
        r->out->reason = arena_printf(r->arena, "%s is not the name of a mail domain",
                                      *shown(r, domain) ? shown(r, domain) : "what is to be checked");
        spf_step(r, "%s", r->out->reason);
        return TRUST_DONE;
    }
    const struct trust_answer *a = spf_lookup(r, domain, TRUST_TXT);
    if (!a) return TRUST_PENDING;
    if (a->status == TRUST_DNS_FAILED) { /* §4.4 */
        *result = SPF_TEMPERROR;
        spf_unsure(r, arena_printf(r->arena, "DNS gave no answer for the SPF record of %s", shown(r, domain)));
        return TRUST_DONE;
    }
    for (size_t i = 0; i < a->count && a->status == TRUST_DNS_OK; i++) { /* §4.5 */
        struct slice txt = a->records[i].data;
        if (!slice_starts_nocase(txt, version) || (txt.n > version.n && txt.p[version.n] != ' ')) continue;
        spf_step(r, "%s TXT: %s", shown(r, domain), spf_printable(r->arena, txt, SPF_RECORD_SHOWN_MAX));
        record = txt;
        count++;
    }
    if (count > 1) {
        *result = SPF_PERMERROR;
        spf_wrong(r, arena_printf(r->arena, "%s has more than one SPF record", shown(r, domain)));
        return TRUST_DONE;
    }
    if (count == 1) return evaluate(r, slice_skip(record, version.n), domain, result);
    r->out->reason = arena_printf(r->arena, "%s has no SPF record", shown(r, domain));
    spf_step(r, "%s", r->out->reason);
    return TRUST_DONE;
}
