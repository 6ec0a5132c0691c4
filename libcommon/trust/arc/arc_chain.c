/* The structure of a chain (RFC 8617 §4.2, §5.2 steps 1 to 3). */
#include "libcommon/mail/header.h"
#include "libcommon/trust/arc/arc_private.h"

/* s after white space and comments (CFWS, RFC 5322 §3.2.2). */
static struct slice skip_comments(struct slice s) {
    for (s = slice_trim(s); s.n && s.p[0] == '('; s = slice_trim(s)) {
        size_t i = 0, depth = 0;
        do {
            if (s.p[i] == '\\')
                i++;
            else if (s.p[i] == '(')
                depth++;
            else if (s.p[i] == ')')
                depth--;
            i++;
        } while (depth && i < s.n);
        s = slice_skip(s, i);
    }
    return s;
}

/* The instance of an ARC-Authentication-Results (§4.1.1: [CFWS] "i" [CFWS] "=" [CFWS] 1*2DIGIT
 * [CFWS] ";"); 0 when it has none. */
static uint64_t results_instance(struct slice value, struct slice *payload) {
    uint64_t n;
    struct slice s = skip_comments(value);
    if (!slice_starts(s, SLICE("i"))) return 0;
    s = skip_comments(slice_skip(s, 1));
    if (!slice_starts(s, SLICE("="))) return 0;
    s = skip_comments(slice_skip(s, 1));
    size_t digits = 0;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9') digits++;
    if (digits > 2 || slice_to_u64(slice_head(s, digits), 99, &n) != 0) return 0;
    s = skip_comments(slice_skip(s, digits));
    if (!slice_starts(s, SLICE(";"))) return 0;
    *payload = slice_trim(slice_skip(s, 1));
    return n;
}

static void note(const char **wrong, const char *what) {
    if (!*wrong) *wrong = what;
}

/* Stores one field in its set. */
static void take(struct arena *arena, const struct header_field *f, bool aar, bool ams, struct arc_chain *out,
                 const char **wrong) {
    struct dkim_signature parsed = {0};
    struct slice payload = {0};
    const char *bad = NULL;
    if (aar)
        parsed.instance = results_instance(f->value, &payload);
    else
        bad = dkim_signature_parse(arena, f->value, ams ? DKIM_ARC_MESSAGE : DKIM_ARC_SEAL, &parsed);
    if (parsed.instance < 1) {
        note(wrong, bad ? bad : "an ARC field has no instance");
        return;
    }
    if (parsed.instance > ARC_SETS_MAX) {
        note(wrong, "there are more than 50 ARC sets"); /* §5.2 step 1 */
        out->count = ARC_SETS_MAX;
        return;
    }
    if (parsed.instance > out->count) out->count = (size_t)parsed.instance;
    struct arc_set *s = &out->sets[parsed.instance - 1];
    struct slice *place = ams ? &s->message : aar ? &s->results : &s->seal;
    if (place->p) note(wrong, "an ARC set has a field twice"); /* §5.2 step 3.A */
    *place = f->raw;
    if (aar) s->payload = payload;
    if (ams) s->ams = parsed;
    if (!aar && !ams) s->as = parsed;
    if (bad) note(wrong, bad);
}

const char *arc_collect(struct arena *arena, struct slice header, struct arc_chain *out) {
    struct header_field f;
    size_t at = 0;
    const char *wrong = NULL;
    *out = (struct arc_chain){0};
    while (header_next(header, &at, &f) == 1) {
        bool ams = slice_is_nocase(f.name, "ARC-Message-Signature"), as = slice_is_nocase(f.name, "ARC-Seal"),
             aar = slice_is_nocase(f.name, "ARC-Authentication-Results");
        if (ams || as || aar) take(arena, &f, aar, ams, out, &wrong);
    }
    const struct arc_set *newest = out->count ? &out->sets[out->count - 1] : NULL;
    out->ended = newest && newest->seal.p && slice_is_nocase(newest->as.cv, "fail");
    if (out->ended) return "the newest seal says that the chain failed before"; /* §5.2 step 2 */
    for (size_t i = 0; i < out->count && !wrong; i++) {
        const struct arc_set *s = &out->sets[i];
        if (!s->results.p || !s->message.p || !s->seal.p)
            note(&wrong, "an ARC set is not whole"); /* §5.2 steps 3.A, 3.B */
        else if (!slice_is_nocase(s->as.cv, i == 0 ? "none" : "pass"))
            note(&wrong,
                 i == 0 ? "cv= of the first seal is not none" : "cv= of a later seal is not pass"); /* step 3.C */
    }
    return wrong;
}

void arc_sealed_make(const struct arc_set sets[], size_t count, struct arc_sealed *out) {
    *out = (struct arc_sealed){0};
    for (size_t i = 0; i < count; i++) {
        dkim_canonical_field(sets[i].results, true, &out->text);
        dkim_canonical_field(sets[i].message, true, &out->text);
        out->seal_at[i] = out->text.n;
        dkim_canonical_field(sets[i].seal, true, &out->text);
    }
}

void arc_sealed_data(const struct arc_sealed *s, const struct arc_set sets[], size_t instance, struct buf *out) {
    buf_add(out, s->text.data, s->seal_at[instance - 1]);
    dkim_field_without_b(sets[instance - 1].seal, true, out);
}
