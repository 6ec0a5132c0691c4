#include "libcommon/trust/arc.h"

#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/mail/header.h"
#include "libcommon/trust/tags.h"

/* One instance: the three fields of an ARC set, each once (§4.2.1). */
struct set {
    struct slice results, message, seal; /* raw fields */
    struct slice message_value, seal_value;
    struct dkim_signature ams, as;
};

const char *arc_result_text(enum arc_result r) {
    static const char *const words[] = {"none", "pass", "fail"};
    return words[r];
}

static int fail(struct arc_verdict *out, const char *reason) {
    out->result = ARC_FAIL;
    out->reason = reason;
    return TRUST_DONE;
}

/* The instance of an ARC-Authentication-Results: "i=1; …". */
static uint64_t results_instance(struct slice value) {
    struct slice rest = value, part;
    uint64_t n;
    if (!slice_cut(&rest, ';', &part)) part = rest;
    part = slice_trim(part);
    if (!slice_starts(part, SLICE("i")) || !slice_cut(&part, '=', &rest) || slice_to_u64(slice_trim(part), ARC_SETS_MAX, &n) != 0) return 0;
    return n;
}

/* Sorts the fields into sets; NULL or what is wrong with them. */
static const char *collect(struct slice header, struct set sets[ARC_SETS_MAX], size_t *count) {
    struct header_field f;
    size_t at = 0, fields = 0;
    *count = 0;
    while (header_next(header, &at, &f) == 1) {
        bool ams = slice_is_nocase(f.name, "ARC-Message-Signature"), as = slice_is_nocase(f.name, "ARC-Seal"),
             aar = slice_is_nocase(f.name, "ARC-Authentication-Results");
        struct dkim_signature parsed;
        if (!ams && !as && !aar) continue;
        if (++fields > 3 * ARC_SETS_MAX) return "there are more than 50 ARC sets";
        uint64_t i = 0;
        if (aar) {
            i = results_instance(f.value);
        } else {
            const char *bad = dkim_signature_parse(f.value, ams ? DKIM_ARC_MESSAGE : DKIM_ARC_SEAL, &parsed);
            if (bad) return bad;
            i = parsed.instance;
        }
        if (i < 1 || i > ARC_SETS_MAX) return "an ARC field has no instance";
        struct set *s = &sets[i - 1];
        struct slice *place = ams ? &s->message : as ? &s->seal : &s->results;
        if (place->p) return "an ARC set has a field twice";
        *place = f.raw;
        if (ams) s->ams = parsed;
        if (as) s->as = parsed;
        if (i > *count) *count = (size_t)i;
    }
    for (size_t i = 0; i < *count; i++) {
        if (!sets[i].results.p || !sets[i].message.p || !sets[i].seal.p) return "an ARC set is not whole";
        if (!slice_is_nocase(sets[i].as.cv, i == 0 ? "none" : "pass"))
            return i == 0 ? "cv= of the first seal is not none" : "a seal says that the chain failed before";
    }
    return NULL;
}

/* What a seal signs (§5.1.1): all sets up to and with its own, in order, AAR, AMS, AS; of the last its b= emptied. */
static void sealed_data(const struct set sets[], size_t instance, struct buf *out) {
    for (size_t i = 0; i < instance; i++) {
        dkim_canonical_field(sets[i].results, true, out);
        dkim_canonical_field(sets[i].message, true, out);
        if (i + 1 < instance)
            dkim_canonical_field(sets[i].seal, true, out);
        else
            dkim_field_without_b(sets[i].seal, true, out);
    }
}

int arc_verify(struct arena *arena, struct slice header, size_t digest_count, const struct body_digest digests[], const struct trust_dns *dns,
               struct dkim_key_cache *cache, struct arc_verdict *out) {
    struct set *sets = arena_alloc(arena, ARC_SETS_MAX * sizeof *sets);
    struct buf data = {0};
    bool pending = false;
    const char *reason;
    enum dkim_result key_result;
    size_t count;
    *out = (struct arc_verdict){.result = ARC_NONE, .reason = "there is no ARC set", .sealer = ""};
    const char *bad = collect(header, sets, &count);
    out->sets = count;
    if (bad) return fail(out, bad);
    if (!count) return TRUST_DONE;
    out->sealer = arena_copy(arena, sets[count - 1].as.d);
    struct dkim_key *keys = arena_alloc(arena, (count + 1) * sizeof *keys);
    bool failed = !dkim_body_fits(&sets[count - 1].ams, digest_count, digests, &reason);
    for (size_t i = 0; i <= count && !failed; i++) { /* the newest message signature, then every seal: all keys are asked for at once */
        const struct dkim_signature *s = i == 0 ? &sets[count - 1].ams : &sets[count - i].as;
        if (dkim_key_fetch(dns, cache, s, &keys[i], &key_result, &reason) == TRUST_PENDING)
            pending = true;
        else if (!keys[i].key)
            failed = true;
    }
    for (size_t i = 0; i <= count && !failed && !pending; i++) {
        const struct dkim_signature *s = i == 0 ? &sets[count - 1].ams : &sets[count - i].as;
        buf_reset(&data);
        if (i == 0)
            dkim_signed_header(header, s, sets[count - 1].message, &data);
        else
            sealed_data(sets, count - i + 1, &data);
        failed = !dkim_signature_fits(s, &keys[i], buf_slice(&data));
        if (failed) reason = i == 0 ? "the newest message signature does not fit" : "a seal does not fit";
    }
    for (size_t i = 0; i <= count; i++) dkim_key_release(&keys[i]);
    buf_free(&data);
    if (failed) return fail(out, reason);
    if (pending) return TRUST_PENDING;
    out->result = ARC_PASS;
    out->reason = "all seals and the newest message signature fit";
    out->oldest_pass = count;
    return TRUST_DONE;
}

int arc_seal(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], const struct arc_verdict *verdict, struct slice authserv_id,
             struct slice results, struct slice domain, struct slice selector, EVP_PKEY *key, int64_t now, struct buf *out) {
    size_t instance = verdict->sets + 1;
    if (instance > ARC_SETS_MAX || (verdict->sets && verdict->result == ARC_FAIL)) return -1; /* §5.1: a failed chain is not sealed on */
    struct buf aar = {0}, ams = {0}, seal = {0}, data = {0}, b64 = {0};
    struct set *sets = memory_alloc(ARC_SETS_MAX * sizeof *sets);
    size_t count;
    const char *algorithm = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? "ed25519-sha256" : "rsa-sha256";
    static const char fields[] = "From:To:Cc:Subject:Date:Message-ID:In-Reply-To:References:Reply-To:MIME-Version:Content-Type:DKIM-Signature";
    buf_printf(&aar, "ARC-Authentication-Results: i=%zu; %.*s;%.*s\r\n", instance, SLICE_FMT(authserv_id), SLICE_FMT(results));
    base64_encode(slice_make(body_hash, BODY_HASH_BYTES), &b64);
    buf_printf(&ams, "ARC-Message-Signature: i=%zu; a=%s; c=relaxed/relaxed;\r\n\td=%.*s; s=%.*s; t=%lld;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=", instance, algorithm,
               SLICE_FMT(domain), SLICE_FMT(selector), (long long)now, fields, buf_str(&b64));
    struct dkim_signature s = {.relaxed_header = true, .h = slice_of(fields)};
    dkim_signed_header(header, &s, buf_slice(&ams), &data);
    buf_reset(&b64);
    int failed = dkim_sign_bytes(key, buf_slice(&data), &b64);
    buf_add_slice(&ams, buf_slice(&b64));
    buf_add_str(&ams, "\r\n");
    collect(header, sets, &count);
    buf_printf(&seal, "ARC-Seal: i=%zu; a=%s; t=%lld; cv=%s;\r\n\td=%.*s; s=%.*s;\r\n\tb=", instance, algorithm, (long long)now,
               instance == 1 ? "none" : "pass", SLICE_FMT(domain), SLICE_FMT(selector));
    sets[instance - 1] = (struct set){.results = buf_slice(&aar), .message = buf_slice(&ams), .seal = buf_slice(&seal)};
    buf_reset(&data);
    sealed_data(sets, instance, &data);
    buf_reset(&b64);
    failed |= dkim_sign_bytes(key, buf_slice(&data), &b64);
    buf_add_slice(&seal, buf_slice(&b64));
    buf_add_str(&seal, "\r\n");
    if (!failed) {
        buf_add_slice(out, buf_slice(&seal));
        buf_add_slice(out, buf_slice(&ams));
        buf_add_slice(out, buf_slice(&aar));
    }
    buf_free(&aar);
    buf_free(&ams);
    buf_free(&seal);
    buf_free(&data);
    buf_free(&b64);
    free(sets);
    return failed ? -1 : 0;
}
