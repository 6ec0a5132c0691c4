/* Validating a chain (RFC 8617 §5.2). */
#include "libcommon/trust/arc/arc.h"

#include "libcommon/mail/header.h"
#include "libcommon/trust/arc/arc_private.h"

const char *arc_result_text(enum arc_result r) {
    static const char *const words[] = {"none", "pass", "fail"};
    return words[r];
}

/* One validation: the chain, and a key for every seal and for each message signature that is
 * checked. */
struct validation {
    const struct dkim_message *m;
    const struct trust_dns *dns;
    struct dkim_key_cache *cache;
    struct dkim_steps *steps;
    struct arc_chain chain;
    struct dkim_key seal_keys[ARC_SETS_MAX], message_keys[ARC_SETS_MAX];
    bool body_fits[ARC_SETS_MAX];
    bool pending;
    const char *failed; /* why the chain fails */
};

static void fetch(struct validation *v, const struct dkim_signature *s, struct dkim_key *key, bool needed) {
    enum dkim_result result;
    const char *reason;
    if (dkim_key_fetch(v->dns, v->cache, s, 0, key, &result, &reason) == TRUST_PENDING) {
        v->pending = true;
        return;
    }
    dkim_step_key(v->steps, s, key, reason);
    if (!key->key && needed) v->failed = reason; /* §5.2.1: a DNS failure too */
}

/* Checks the time and the body hash of a set's message signature: its key is needed only if both
 * are right.
 *
 * Without c= the canonicalization is simple/simple (§4.1.2 with RFC 6376 §3.5). Drafts of ARC had
 * relaxed/relaxed, and the public ARC test suite signs such a field with it ("ams c= not
 * available"), so relaxed is tried when simple does not match. Both are equally strong. */
static const char *check_body(struct validation *v, size_t i) {
    struct dkim_signature *s = &v->chain.sets[i].ams;
    const struct body_digest *digest = NULL;
    const char *reason;
    bool in_time = dkim_signature_in_time(s, v->m->now, &reason) == DKIM_PASS;
    bool fits = in_time && dkim_body_fits(s, v->m->digest_count, v->m->digests, &digest, &reason) == DKIM_PASS;
    if (in_time && !fits && s->no_canonicalization) {
        s->body.relaxed = true;
        fits = dkim_body_fits(s, v->m->digest_count, v->m->digests, &digest, &reason) == DKIM_PASS;
    }
    dkim_step(v->steps, "i=%zu: ARC-Message-Signature of d=%.*s", i + 1, SLICE_FMT(s->d));
    if (digest || !fits) dkim_step_body(v->steps, s, digest);
    v->body_fits[i] = fits;
    return fits ? NULL : reason;
}

static bool message_signature_fits(struct validation *v, struct header_index *index, size_t i, struct buf *data) {
    struct dkim_signature *s = &v->chain.sets[i].ams;
    struct header_coverage coverage;
    bool fits = false;
    if (!v->message_keys[i].key) return false;
    for (int attempt = 0; attempt < (s->no_canonicalization ? 2 : 1) && !fits; attempt++) {
        s->relaxed_header |= attempt == 1;
        buf_reset(data);
        dkim_signed_header(index, s->h, s->relaxed_header, v->chain.sets[i].message, data, &coverage);
        fits = dkim_any_key_fits(s, v->dns, v->cache, &v->message_keys[i], buf_slice(data));
    }
    dkim_step(v->steps, "i=%zu: ARC-Message-Signature", i + 1);
    dkim_step_header(v->steps, s, buf_slice(data), &coverage, fits);
    return fits;
}

/* Steps 4 and 5. */
static void check_messages(struct validation *v, struct buf *data, struct arc_verdict *out) {
    struct header_index *index = header_index_create(v->m->header);
    size_t n = v->chain.count, oldest = n;
    if (!message_signature_fits(v, index, n - 1, data))
        v->failed = "the newest message signature does not fit";
    else
        while (oldest > 1 && message_signature_fits(v, index, oldest - 2, data)) oldest--;
    out->oldest_pass = oldest == 1 ? 0 : oldest;
    header_index_destroy(index);
}

/* Step 6. */
static void check_seals(struct validation *v, struct buf *data) {
    struct arc_sealed sealed;
    arc_sealed_make(v->chain.sets, v->chain.count, &sealed);
    for (size_t i = v->chain.count; i > 0 && !v->failed; i--) {
        const struct dkim_signature *s = &v->chain.sets[i - 1].as;
        buf_reset(data);
        arc_sealed_data(&sealed, v->chain.sets, i, data);
        bool fits = dkim_any_key_fits(s, v->dns, v->cache, &v->seal_keys[i - 1], buf_slice(data));
        dkim_step(v->steps, "i=%zu: ARC-Seal of d=%.*s, cv=%.*s", i, SLICE_FMT(s->d), SLICE_FMT(s->cv));
        dkim_step_header(v->steps, s, buf_slice(data), NULL, fits);
        if (!fits) v->failed = "a seal does not fit";
    }
    buf_free(&sealed.text);
}

/* Requests all keys together. */
static void fetch_keys(struct validation *v) {
    size_t n = v->chain.count;
    v->failed = check_body(v, n - 1);
    if (v->failed) return;
    fetch(v, &v->chain.sets[n - 1].ams, &v->message_keys[n - 1], true);
    for (size_t i = n; i > 0 && !v->failed; i--) fetch(v, &v->chain.sets[i - 1].as, &v->seal_keys[i - 1], true);
    for (size_t i = n - 1; i > 0 && !v->failed && !check_body(v, i - 1); i--)
        fetch(v, &v->chain.sets[i - 1].ams, &v->message_keys[i - 1], false);
}

static void name_links(struct arena *arena, const struct arc_chain *c, struct arc_verdict *out) {
    struct arc_link *links = arena_alloc(arena, c->count * sizeof *links);
    for (size_t i = 0; i < c->count; i++)
        links[i] = (struct arc_link){c->sets[i].as.d, c->sets[i].as.s, c->sets[i].payload};
    out->links = links;
    out->sealer = arena_copy(arena, c->sets[c->count - 1].as.d);
}

/* A quick test, because most messages have no chain. */
static bool has_arc_field(struct slice header) {
    struct header_field f;
    size_t at = 0;
    while (header_next(header, &at, &f) == 1)
        if (slice_starts_nocase(f.name, SLICE("ARC-"))) return true;
    return false;
}

int arc_verify(struct arena *arena, const struct dkim_message *m, const struct trust_dns *dns,
               struct dkim_key_cache *cache, struct arc_verdict *out) {
    *out = (struct arc_verdict){.result = ARC_NONE, .reason = "there is no ARC set", .sealer = ""};
    if (!has_arc_field(m->header)) return TRUST_DONE; /* §5.2 step 1 */
    struct validation *v = arena_alloc(arena, sizeof *v);
    v->m = m;
    v->dns = dns;
    v->cache = cache;
    if (m->explain && !m->ask_only) v->steps = dkim_steps_create(arena, ARC_STEPS_MAX);
    v->failed = arc_collect(arena, m->header, &v->chain);
    out->sets = v->chain.count;
    out->ended = v->chain.ended;
    if (!v->failed && !v->chain.count) return TRUST_DONE;
    if (!v->failed) {
        struct buf data = {0};
        name_links(arena, &v->chain, out);
        fetch_keys(v);
        bool wait = !v->failed && (v->pending || m->ask_only);
        if (!v->failed && !wait) check_messages(v, &data, out);
        if (!v->failed && !wait) check_seals(v, &data);
        for (size_t i = 0; i < v->chain.count; i++) {
            dkim_key_release(&v->seal_keys[i]);
            dkim_key_release(&v->message_keys[i]);
        }
        buf_free(&data);
        if (wait) return TRUST_PENDING;
    }
    if (v->steps) {
        out->step_count = v->steps->count;
        out->steps = v->steps->lines;
    }
    out->result = v->failed ? ARC_FAIL : ARC_PASS; /* §5.2 step 7 */
    out->reason = v->failed ? v->failed : "all seals and the newest message signature fit";
    return TRUST_DONE;
}
