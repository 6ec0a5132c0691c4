/* A verdict as JSON: for events, replies and `postbus check --json`. */
#include "libcommon/trust/verdict/trust_private.h"

/* JSON text of bytes that need not be UTF-8. */
static json_t *text(struct slice s) {
    json_t *t = json_stringn(s.p ? s.p : "", s.n);
    return t ? t : json_string("(not UTF-8)");
}

static json_t *text_or_null(struct slice s) { return s.p ? text(s) : json_null(); }

static json_t *lines(size_t count, const char *const list[]) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(array, text(slice_of(list[i])));
    return array;
}

static json_t *spf_json(const struct spf_verdict *v, bool steps) {
    json_t *spf = json_pack("{s:s,s:o,s:o,s:s,s:o,s:o,s:i,s:i}", "result", spf_result_text(v->result), "reason",
                            text(slice_of(v->reason)), "domain", text(slice_of(v->domain)), "scope", v->scope,
                            "mechanism", text(slice_of(v->mechanism)), "record_domain",
                            text(slice_of(v->record_domain)), "lookups", v->lookups, "void_lookups", v->void_lookups);
    if (v->explanation && *v->explanation) json_object_set_new(spf, "explanation", text(slice_of(v->explanation)));
    if (steps) json_object_set_new(spf, "steps", lines(v->step_count, v->steps));
    return spf;
}

static json_t *dkim_json(const struct trust_result *r, bool steps) {
    json_t *dkim = json_array();
    for (size_t i = 0; i < r->dkim_count; i++) {
        const struct dkim_verdict *v = &r->dkim[i];
        json_t *one =
            json_pack("{s:s,s:o,s:o,s:o,s:o,s:i,s:b}", "result", dkim_result_text(v->result), "reason",
                      text(slice_of(v->reason)), "domain", text(v->signature.d), "selector", text(v->signature.s),
                      "algorithm", text(v->signature.a), "bits", v->bits, "testing", v->testing);
        if (steps) json_object_set_new(one, "steps", lines(v->step_count, v->steps));
        json_array_append_new(dkim, one);
    }
    return dkim;
}

/* The record as it counts; sp, np, rua and ruf are null when they are not there. */
static json_t *published_json(const struct dmarc_record *d) {
    char psd[2] = {d->psd, 0};
    return json_pack("{s:s,s:o,s:o,s:s,s:s,s:i,s:s,s:s,s:o,s:o,s:o}", "p", dmarc_policy_text(d->p), "sp",
                     d->has_sp ? json_string(dmarc_policy_text(d->sp)) : json_null(), "np",
                     d->has_np ? json_string(dmarc_policy_text(d->np)) : json_null(), "adkim",
                     d->strict_dkim ? "s" : "r", "aspf", d->strict_spf ? "s" : "r", "pct", d->pct, "t",
                     d->testing ? "y" : "n", "psd", psd, "fo", text(d->fo), "rua", text_or_null(d->rua), "ruf",
                     text_or_null(d->ruf));
}

static json_t *dmarc_json(const struct trust_result *r, bool steps) {
    const struct dmarc_verdict *d = &r->dmarc;
    json_t *overrides = json_array();
    for (size_t i = 0; i < r->override_count; i++)
        json_array_append_new(overrides, json_pack("{s:s,s:o}", "type", r->overrides[i].type, "comment",
                                                   text(slice_of(r->overrides[i].comment))));
    json_t *dmarc =
        json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:b,s:b,s:o,s:o}", "result", dmarc_result_text(d->result), "policy",
                  dmarc_policy_text(d->policy), "disposition", dmarc_policy_text(r->dmarc_disposition), "reason",
                  d->reason, "from", text(slice_of(d->from_domain)), "record_domain", text(slice_of(d->record_domain)),
                  "organizational_domain", text(slice_of(d->organizational_domain)), "spf_aligned", d->spf_aligned,
                  "dkim_aligned", d->dkim_aligned, "published",
                  d->has_record ? published_json(&d->record) : json_null(), "overrides", overrides);
    if (steps) json_object_set_new(dmarc, "steps", lines(d->step_count, d->steps));
    return dmarc;
}

json_t *trust_result_json(const struct trust_result *r, bool steps) {
    json_t *arc = json_pack("{s:s,s:o,s:i,s:i,s:o}", "cv", arc_result_text(r->arc.result), "reason",
                            text(slice_of(r->arc.reason)), "sets", (int)r->arc.sets, "oldest_pass",
                            (int)r->arc.oldest_pass, "sealer", text(slice_of(r->arc.sealer)));
    if (steps) json_object_set_new(arc, "steps", lines(r->arc.step_count, r->arc.steps));
    json_t *iprev = json_pack("{s:s,s:o}", "result", iprev_text(r), "name", text(slice_of(r->client_name)));
    if (steps) json_object_set_new(iprev, "steps", lines(r->iprev_step_count, r->iprev_steps));
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "spf", spf_json(&r->spf, steps), "spf_helo",
                     r->helo_checked ? spf_json(&r->spf_helo, steps) : json_null(), "dkim", dkim_json(r, steps),
                     "dmarc", dmarc_json(r, steps), "arc", arc, "iprev", iprev);
}
