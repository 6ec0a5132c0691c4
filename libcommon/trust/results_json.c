/* A verdict as JSON: for events, replies and `postbus check --json`. */
#include "libcommon/trust/trust_private.h"

/* JSON text of bytes that need not be UTF-8. */
static json_t *text(struct slice s) {
    json_t *t = json_stringn(s.p ? s.p : "", s.n);
    return t ? t : json_string("(not UTF-8)");
}

/* Adds the steps of a proof, where they are asked for. */
static void add_steps(json_t *proof, bool wanted, size_t count, const char *const *lines) {
    if (!wanted) return;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, text(slice_of(lines[i])));
    json_object_set_new(proof, "steps", list);
}

json_t *trust_result_json(const struct trust_result *r, bool steps) {
    json_t *dkim = json_array();
    for (size_t i = 0; i < r->dkim_count; i++) {
        const struct dkim_verdict *v = &r->dkim[i];
        json_t *one =
            json_pack("{s:s,s:s,s:o,s:o,s:o,s:i,s:b}", "result", dkim_result_text(v->result), "reason", v->reason ? v->reason : "", "domain",
                      text(v->signature.d), "selector", text(v->signature.s), "algorithm", text(v->signature.a), "bits", v->bits, "testing", v->testing);
        add_steps(one, steps, v->step_count, v->steps);
        json_array_append_new(dkim, one);
    }
    json_t *spf =
        json_pack("{s:s,s:o,s:o,s:o,s:i,s:i}", "result", spf_result_text(r->spf.result), "reason", text(slice_of(r->spf.reason)), "domain",
                  text(slice_of(r->spf.domain)), "mechanism", text(slice_of(r->spf.mechanism)), "lookups", r->spf.lookups, "void_lookups", r->spf.void_lookups);
    if (*r->spf.explanation) json_object_set_new(spf, "explanation", text(slice_of(r->spf.explanation)));
    if (steps) {
        json_t *list = json_array();
        for (size_t i = 0; i < r->spf.step_count; i++) json_array_append_new(list, text(slice_of(r->spf.steps[i])));
        json_object_set_new(spf, "steps", list);
    }
    json_t *dmarc = json_pack("{s:s,s:s,s:s,s:o,s:o,s:b,s:b}", "result", dmarc_result_text(r->dmarc.result), "policy", dmarc_policy_text(r->dmarc.policy),
                              "reason", r->dmarc.reason, "from", text(slice_of(r->dmarc.from_domain)), "record_domain", text(slice_of(r->dmarc.record_domain)),
                              "spf_aligned", r->dmarc.spf_aligned, "dkim_aligned", r->dmarc.dkim_aligned);
    json_t *arc = json_pack("{s:s,s:s,s:i,s:i,s:o}", "cv", arc_result_text(r->arc.result), "reason", r->arc.reason, "sets", (int)r->arc.sets, "oldest_pass",
                            (int)r->arc.oldest_pass, "sealer", text(slice_of(r->arc.sealer)));
    add_steps(arc, steps, r->arc.step_count, r->arc.steps);
    json_t *iprev = json_pack("{s:s,s:o}", "result", iprev_text(r), "name", text(slice_of(r->client_name)));
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "spf", spf, "dkim", dkim, "dmarc", dmarc, "arc", arc, "iprev", iprev);
}
