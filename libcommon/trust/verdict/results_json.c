/* A verdict as JSON: for events, replies and `postbus check --json`. */
#include "libcommon/trust/verdict/trust_private.h"

static void put_lines(struct json_put *j, size_t count, const char *const list[]) {
    json_put_array(j, "steps");
    for (size_t i = 0; i < count; i++) json_put_foreign(j, NULL, slice_of(list[i]));
    json_put_end(j, ']');
}

static void put_text_or_null(struct json_put *j, const char *name, struct slice s) {
    if (s.p)
        json_put_foreign(j, name, s);
    else
        json_put_null(j, name);
}

static void put_spf(struct json_put *j, const char *name, const struct spf_verdict *v, bool steps) {
    json_put_object(j, name);
    json_put_word(j, "result", spf_result_text(v->result));
    json_put_foreign(j, "reason", slice_of(v->reason));
    json_put_foreign(j, "domain", slice_of(v->domain));
    json_put_word(j, "scope", v->scope);
    json_put_foreign(j, "mechanism", slice_of(v->mechanism));
    json_put_foreign(j, "record_domain", slice_of(v->record_domain));
    json_put_integer(j, "lookups", v->lookups);
    json_put_integer(j, "void_lookups", v->void_lookups);
    if (v->explanation && *v->explanation) json_put_foreign(j, "explanation", slice_of(v->explanation));
    if (steps) put_lines(j, v->step_count, v->steps);
    json_put_end(j, '}');
}

static void put_dkim(struct json_put *j, const struct trust_result *r, bool steps) {
    json_put_array(j, "dkim");
    for (size_t i = 0; i < r->dkim_count; i++) {
        const struct dkim_verdict *v = &r->dkim[i];
        json_put_object(j, NULL);
        json_put_word(j, "result", dkim_result_text(v->result));
        json_put_foreign(j, "reason", slice_of(v->reason));
        json_put_foreign(j, "domain", v->signature.d);
        json_put_foreign(j, "selector", v->signature.s);
        json_put_foreign(j, "algorithm", v->signature.a);
        json_put_integer(j, "bits", v->bits);
        json_put_bool(j, "testing", v->testing);
        if (steps) put_lines(j, v->step_count, v->steps);
        json_put_end(j, '}');
    }
    json_put_end(j, ']');
}

static void put_policy_or_null(struct json_put *j, const char *name, bool there, enum dmarc_policy policy) {
    if (there)
        json_put_word(j, name, dmarc_policy_text(policy));
    else
        json_put_null(j, name);
}

/* The record with its effective values; sp, np, rua and ruf are null when they are missing. */
static void put_published(struct json_put *j, const struct dmarc_record *d) {
    json_put_object(j, "published");
    json_put_word(j, "p", dmarc_policy_text(d->p));
    put_policy_or_null(j, "sp", d->has_sp, d->sp);
    put_policy_or_null(j, "np", d->has_np, d->np);
    json_put_word(j, "adkim", d->strict_dkim ? "s" : "r");
    json_put_word(j, "aspf", d->strict_spf ? "s" : "r");
    json_put_integer(j, "pct", d->pct);
    json_put_word(j, "t", d->testing ? "y" : "n");
    json_put_text(j, "psd", slice_make(&d->psd, 1));
    json_put_foreign(j, "fo", d->fo);
    put_text_or_null(j, "rua", d->rua);
    put_text_or_null(j, "ruf", d->ruf);
    json_put_end(j, '}');
}

static void put_dmarc(struct json_put *j, const struct trust_result *r, bool steps) {
    const struct dmarc_verdict *d = &r->dmarc;
    json_put_object(j, "dmarc");
    json_put_word(j, "result", dmarc_result_text(d->result));
    json_put_word(j, "policy", dmarc_policy_text(d->policy));
    json_put_word(j, "disposition", dmarc_policy_text(r->dmarc_disposition));
    json_put_foreign(j, "reason", slice_of(d->reason));
    json_put_foreign(j, "from", slice_of(d->from_domain));
    json_put_foreign(j, "record_domain", slice_of(d->record_domain));
    json_put_foreign(j, "organizational_domain", slice_of(d->organizational_domain));
    json_put_bool(j, "spf_aligned", d->spf_aligned);
    json_put_bool(j, "dkim_aligned", d->dkim_aligned);
    if (d->has_record)
        put_published(j, &d->record);
    else
        json_put_null(j, "published");
    json_put_array(j, "overrides");
    for (size_t i = 0; i < r->override_count; i++) {
        json_put_object(j, NULL);
        json_put_word(j, "type", r->overrides[i].type);
        json_put_foreign(j, "comment", slice_of(r->overrides[i].comment));
        json_put_end(j, '}');
    }
    json_put_end(j, ']');
    if (steps) put_lines(j, d->step_count, d->steps);
    json_put_end(j, '}');
}

static void put_arc(struct json_put *j, const struct arc_verdict *v, bool steps) {
    json_put_object(j, "arc");
    json_put_word(j, "cv", arc_result_text(v->result));
    json_put_foreign(j, "reason", slice_of(v->reason));
    json_put_integer(j, "sets", (int64_t)v->sets);
    json_put_integer(j, "oldest_pass", (int64_t)v->oldest_pass);
    json_put_foreign(j, "sealer", slice_of(v->sealer));
    if (steps) put_lines(j, v->step_count, v->steps);
    json_put_end(j, '}');
}

void trust_result_put(const struct trust_result *r, bool steps, struct json_put *j) {
    put_spf(j, "spf", &r->spf, steps);
    if (r->helo_checked)
        put_spf(j, "spf_helo", &r->spf_helo, steps);
    else
        json_put_null(j, "spf_helo");
    put_dkim(j, r, steps);
    put_dmarc(j, r, steps);
    put_arc(j, &r->arc, steps);
    json_put_object(j, "iprev");
    json_put_word(j, "result", iprev_text(r));
    json_put_foreign(j, "name", slice_of(r->client_name));
    if (steps) put_lines(j, r->iprev_step_count, r->iprev_steps);
    json_put_end(j, '}');
}
