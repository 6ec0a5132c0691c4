/* Verifying (RFC 6376 §6.1). */
#include "libcommon/trust/dkim/dkim_private.h"

/* The checks that need no key; returns whether a key is needed. */
static bool check_before_key(const struct dkim_message *m, const struct dkim_candidate *c, struct dkim_steps *steps,
                             struct dkim_verdict *v) {
    const struct body_digest *digest;
    v->signature = c->signature;
    v->result = DKIM_PERMERROR;
    v->reason = c->wrong;
    if (c->wrong) return false;
    v->result = dkim_signature_in_time(&v->signature, m->now, &v->reason);
    if (v->result != DKIM_PASS) return false;
    v->result = dkim_body_fits(&v->signature, m->digest_count, m->digests, &digest, &v->reason); /* §6.1.3 step 3 */
    dkim_step_body(steps, &v->signature, digest);
    return v->result == DKIM_PASS;
}

static void check_signature(struct header_index *index, const struct dkim_candidate *c, const struct trust_dns *dns,
                            struct dkim_key_cache *cache, struct dkim_key *key, struct dkim_steps *steps,
                            struct buf *data, struct dkim_verdict *v) {
    struct header_coverage coverage;
    buf_reset(data);
    dkim_signed_header(index, v->signature.h, v->signature.relaxed_header, c->raw, data, &coverage);
    bool fits = dkim_any_key_fits(&v->signature, dns, cache, key, buf_slice(data)); /* §6.1.3 step 4 */
    v->result = fits ? DKIM_PASS : DKIM_FAIL;
    v->reason =
        fits ? "the signature fits" : "the signature does not fit: a signed field was changed, or the key is another";
    dkim_step_header(steps, &v->signature, buf_slice(data), &coverage, fits);
}

int dkim_verify(struct arena *arena, const struct dkim_message *m, const struct trust_dns *dns,
                struct dkim_key_cache *cache, size_t *count, struct dkim_verdict **verdicts) {
    struct dkim_candidate selected[SIGNATURES_MAX];
    struct dkim_key keys[SIGNATURES_MAX] = {0};
    struct dkim_steps *steps[SIGNATURES_MAX] = {0};
    size_t total, n = dkim_select(arena, m->header, selected, &total);
    struct dkim_verdict *list = arena_alloc(arena, (n + 1) * sizeof *list);
    bool wait = m->ask_only, usable = false;
    for (size_t i = 0; i < n; i++) {
        struct dkim_verdict *v = &list[i];
        if (m->explain && !m->ask_only) steps[i] = dkim_steps_create(arena, DKIM_STEPS_MAX);
        if (total > n) dkim_step(steps[i], "one of %zu signatures; %zu of them are verified", total, n);
        if (!check_before_key(m, &selected[i], steps[i], v)) continue;
        if (dkim_key_fetch(dns, cache, &v->signature, 0, &keys[i], &v->result, &v->reason) == TRUST_PENDING)
            wait = true;
        else
            dkim_step_key(steps[i], &v->signature, &keys[i], v->reason);
        if (v->result == DKIM_PASS) { /* this is the result for the key alone; it must not be taken
                                         for the result of the signature while other keys are
                                         pending */
            v->result = DKIM_NONE;
            v->reason = "not verified yet";
        }
        v->bits = keys[i].bits;
        v->testing = keys[i].testing;
        v->secure = keys[i].secure;
        usable = usable || keys[i].key;
    }
    if (!wait && usable) {
        struct header_index *index = header_index_create(m->header);
        struct buf data = {0};
        for (size_t i = 0; i < n; i++)
            if (keys[i].key) check_signature(index, &selected[i], dns, cache, &keys[i], steps[i], &data, &list[i]);
        buf_free(&data);
        header_index_destroy(index);
    }
    for (size_t i = 0; i < n; i++) {
        dkim_key_release(&keys[i]);
        if (!steps[i]) continue;
        list[i].step_count = steps[i]->count;
        list[i].steps = steps[i]->lines;
    }
    *count = n;
    *verdicts = list;
    return wait && n ? TRUST_PENDING : TRUST_DONE;
}
