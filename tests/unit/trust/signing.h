/* For tests of signatures: signers with the records they publish, and messages verified against a
 * scripted DNS until nothing is pending. */
#ifndef POSTBUS_TEST_SIGNING_H
#define POSTBUS_TEST_SIGNING_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "libcommon/base/base64.h"
#include "libcommon/mail/header.h"
#include "libcommon/trust/arc/arc.h"
#include "libcommon/trust/dkim/dkim_header.h"
#include "tests/unit/trust/scripted_dns.h"

enum { SIGNING_NOW = 1795513277 };

/* A key, and the record it publishes. */
struct signer {
    EVP_PKEY *key;
    char p[1000], record[1100];
};

static inline struct signer signer_create(bool ed25519, int bits) {
    struct signer s = {.key = ed25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                      : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits)};
    struct buf b64 = {0};
    if (ed25519) {
        unsigned char raw[32];
        size_t n = sizeof raw;
        EVP_PKEY_get_raw_public_key(s.key, raw, &n);
        base64_encode(slice_make(raw, n), &b64);
    } else {
        unsigned char *der = NULL;
        int n = i2d_PUBKEY(s.key, &der);
        base64_encode(slice_make(der, (size_t)n), &b64);
        OPENSSL_free(der);
    }
    snprintf(s.p, sizeof s.p, "%s", buf_str(&b64));
    snprintf(s.record, sizeof s.record, "v=DKIM1; k=%s; p=%s", ed25519 ? "ed25519" : "rsa", s.p);
    buf_free(&b64);
    return s;
}

static inline void body_digest_of(struct slice body, struct body_hash_kind kind, struct body_digest *out) {
    struct body_hash *h = body_hash_create(kind);
    out->kind = kind;
    body_hash_update(h, body);
    body_hash_finish(h, out->digest, &out->hashed);
}

/* All digests that the header asks for. */
static inline size_t body_digests_of(struct slice header, struct slice body,
                                     struct body_digest digests[BODY_HASHES_MAX]) {
    struct body_hash_kind kinds[BODY_HASHES_MAX];
    size_t n = body_hash_wanted(header, kinds);
    for (size_t i = 0; i < n; i++) body_digest_of(body, kinds[i], &digests[i]);
    return n;
}

/* The verdicts on a message's signatures. */
static inline size_t verify_dkim(struct arena *arena, struct slice header, struct slice body,
                                 const struct scripted_record *records, size_t count, struct dkim_verdict **verdicts) {
    struct scripted_dns script = {.records = records, .count = count, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct body_digest digests[BODY_HASHES_MAX];
    struct dkim_message m = {.header = header,
                             .digest_count = body_digests_of(header, body, digests),
                             .digests = digests,
                             .now = SIGNING_NOW,
                             .explain = true};
    size_t n = 0;
    for (int round = 0; dkim_verify(arena, &m, &dns, NULL, &n, verdicts) == TRUST_PENDING; round++)
        if (round > 3) abort();
    return n;
}

static inline struct arc_verdict verify_arc(struct arena *arena, struct slice header, struct slice body,
                                            const struct scripted_record *records, size_t count) {
    struct scripted_dns script = {.records = records, .count = count, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct body_digest digests[BODY_HASHES_MAX];
    struct dkim_message m = {.header = header,
                             .digest_count = body_digests_of(header, body, digests),
                             .digests = digests,
                             .now = SIGNING_NOW,
                             .explain = true};
    struct arc_verdict v;
    for (int round = 0; arc_verify(arena, &m, &dns, NULL, &v) == TRUST_PENDING; round++)
        if (round > 3) abort();
    return v;
}

/* Signs as any signer would: `tags` is the text of a signature's tags but for bh= and b=; {d, s, h,
 * c} are read from `made`. Adds the whole field. */
static inline void sign_as(EVP_PKEY *key, const char *name, const char *tags, const char *made, struct slice header,
                           struct slice body, struct buf *out) {
    struct arena *arena = arena_create();
    struct buf field = {0}, data = {0}, b64 = {0};
    struct dkim_signature s;
    struct body_digest digest;
    buf_printf(&field, "%s: %s bh=AAAA; b=AAAA", name, made);
    dkim_signature_parse(arena, slice_skip(buf_slice(&field), strlen(name) + 1),
                         name[0] == 'A' ? DKIM_ARC_MESSAGE : DKIM_SIGNATURE, &s);
    char *names = arena_copy(arena, s.h); /* the field is written anew */
    body_digest_of(body, s.body, &digest);
    base64_encode(slice_make(digest.digest, BODY_HASH_BYTES), &b64);
    buf_reset(&field);
    buf_printf(&field, "%s: %s bh=%s; b=", name, tags, buf_str(&b64));
    struct header_index *index = header_index_create(header);
    dkim_signed_header(index, slice_of(names), s.relaxed_header, buf_slice(&field), &data, NULL);
    buf_reset(&b64);
    dkim_sign_bytes(key, buf_slice(&data), &b64);
    buf_add_slice(out, buf_slice(&field));
    buf_add_slice(out, buf_slice(&b64));
    buf_add_str(out, "\r\n");
    header_index_destroy(index);
    buf_free(&field);
    buf_free(&data);
    buf_free(&b64);
    arena_destroy(arena);
}

static inline void sign_with(EVP_PKEY *key, const char *name, const char *tags, struct slice header, struct slice body,
                             struct buf *out) {
    sign_as(key, name, tags, tags, header, body, out);
}

#endif
