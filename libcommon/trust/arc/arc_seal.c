/* Sealing (RFC 8617 §5.1). */
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/trust/arc/arc_private.h"

/* The input for the three fields. */
struct sealer {
    size_t instance;
    struct slice domain, selector;
    EVP_PKEY *key;
    int64_t now;
};

/* Begins a signature field with the tags that both kinds have; f is the position for further
 * tags. */
static struct folded begin(struct buf *field, const char *name, const struct sealer *s) {
    struct folded f = {.out = field};
    struct buf word = {0};
    buf_printf(field, "%s:", name);
    f.column = field->n;
    buf_printf(&word, "i=%zu;", s->instance);
    folded_add(&f, buf_slice(&word), false);
    folded_add(&f,
               EVP_PKEY_get_base_id(s->key) == EVP_PKEY_ED25519 ? SLICE("a=ed25519-sha256;") : SLICE("a=rsa-sha256;"),
               false);
    buf_reset(&word);
    buf_printf(&word, "t=%lld;", (long long)s->now);
    folded_add(&f, buf_slice(&word), false);
    buf_reset(&word);
    buf_printf(&word, "d=%.*s;", SLICE_FMT(s->domain));
    folded_add(&f, buf_slice(&word), false);
    buf_reset(&word);
    buf_printf(&word, "s=%.*s;", SLICE_FMT(s->selector));
    folded_add(&f, buf_slice(&word), false);
    buf_free(&word);
    return f;
}

/* Signs data and ends a field whose last tag is "b=" with it. */
static int end(struct folded *f, EVP_PKEY *key, struct slice data) {
    struct buf b64 = {0};
    int failed = dkim_sign_bytes(key, data, &b64);
    folded_add_base64(f, buf_slice(&b64));
    buf_add_str(f->out, "\r\n");
    buf_free(&b64);
    return failed;
}

/* §4.1.2: signs the message as it is sent on, with all its DKIM-Signature fields. */
static int make_message_signature(const struct sealer *s, struct slice header,
                                  const unsigned char body_hash[BODY_HASH_BYTES], struct buf *field) {
    struct header_index *index = header_index_create(header);
    struct folded f = begin(field, "ARC-Message-Signature", s);
    struct buf names = {0}, data = {0}, bh = {0};
    dkim_names_to_sign(index, true, &names);
    folded_add(&f, SLICE("c=relaxed/relaxed;"), false);
    folded_add(&f, SLICE("h="), false);
    folded_add_list(&f, buf_slice(&names));
    folded_add(&f, SLICE(";"), true);
    buf_add_str(&bh, "bh=");
    base64_encode(slice_make(body_hash, BODY_HASH_BYTES), &bh);
    buf_add_char(&bh, ';');
    folded_add(&f, buf_slice(&bh), false);
    folded_add(&f, SLICE("b="), false);
    dkim_signed_header(index, buf_slice(&names), true, buf_slice(field), &data, NULL);
    int failed = end(&f, s->key, buf_slice(&data));
    header_index_destroy(index);
    buf_free(&names);
    buf_free(&data);
    buf_free(&bh);
    return failed;
}

/* §4.1.3; own: the new set without its seal. For a failed chain the seal covers only its own set
 * (§5.1.2). */
static int make_seal(const struct sealer *s, bool chain_failed, struct arc_chain *chain, struct buf *field) {
    struct arc_set *own = &chain->sets[s->instance - 1];
    struct folded f = begin(field, "ARC-Seal", s);
    struct arc_sealed sealed;
    struct buf data = {0};
    folded_add(&f, chain_failed ? SLICE("cv=fail;") : s->instance == 1 ? SLICE("cv=none;") : SLICE("cv=pass;"), false);
    folded_add(&f, SLICE("b="), false);
    own->seal = buf_slice(field);
    const struct arc_set *covered = chain_failed ? own : chain->sets;
    size_t count = chain_failed ? 1 : s->instance;
    arc_sealed_make(covered, count, &sealed);
    arc_sealed_data(&sealed, covered, count, &data);
    int failed = end(&f, s->key, buf_slice(&data));
    buf_free(&sealed.text);
    buf_free(&data);
    return failed;
}

int arc_seal(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], const struct arc_verdict *verdict,
             struct slice authserv_id, struct slice results, struct slice domain, struct slice selector, EVP_PKEY *key,
             int64_t now, struct buf *out) {
    struct sealer s = {verdict->sets + 1, domain, selector, key, now};
    if (s.instance > ARC_SETS_MAX || verdict->ended) return -1;
    struct arena *arena = arena_create();
    struct arc_chain *chain = arena_alloc(arena, sizeof *chain);
    struct buf aar = {0}, ams = {0}, seal = {0};
    arc_collect(arena, header, chain);
    buf_printf(&aar, "ARC-Authentication-Results: i=%zu; %.*s;%.*s\r\n", s.instance, SLICE_FMT(authserv_id),
               SLICE_FMT(results));
    int failed = make_message_signature(&s, header, body_hash, &ams);
    chain->sets[s.instance - 1] = (struct arc_set){.results = buf_slice(&aar), .message = buf_slice(&ams)};
    failed |= make_seal(&s, verdict->result == ARC_FAIL, chain, &seal);
    if (!failed) {
        buf_add_slice(out, buf_slice(&seal));
        buf_add_slice(out, buf_slice(&ams));
        buf_add_slice(out, buf_slice(&aar));
    }
    arena_destroy(arena);
    buf_free(&aar);
    buf_free(&ams);
    buf_free(&seal);
    return failed ? -1 : 0;
}
