/* DKIM (RFC 6376, with 8301: algorithms, 8463: Ed25519, 8616: internationalised): signatures verified and made. Pure functions: keys come through dns.h, bodies
 * as their hashes (body_hash.h). ARC's signatures (arc.h) are made of the same parts. */
#ifndef POSTBUS_TRUST_DKIM_H
#define POSTBUS_TRUST_DKIM_H

#include <openssl/evp.h>

#include "libcommon/base/buf.h"
#include "libcommon/trust/body_hash.h"
#include "libcommon/trust/dns.h"

enum { DKIM_RSA_BITS_MIN = 1024, DKIM_RSA_BITS_MAX = 4096, DKIM_SIGNED_FIELDS_MAX = 200, DKIM_KEY_RECORD_MAX = 8192 };

/* Results in the words of RFC 8601 §2.7.1. */
enum dkim_result { DKIM_NONE, DKIM_PASS, DKIM_FAIL, DKIM_POLICY, DKIM_NEUTRAL, DKIM_TEMPERROR, DKIM_PERMERROR };
const char *dkim_result_text(enum dkim_result r);

/* A signature's tags (§3.5), as slices of the field. */
struct dkim_signature {
    struct slice a, b, bh, d, h, i, s, t, x, cv;
    bool relaxed_header, ed25519;
    struct body_hash_kind body;
    int64_t signed_at, expires; /* -1: not given */
    uint64_t instance;          /* ARC's i= */
};

enum dkim_flavour { DKIM_SIGNATURE, DKIM_ARC_MESSAGE, DKIM_ARC_SEAL };
/* NULL, or why it is a permerror. */
const char *dkim_signature_parse(struct slice value, enum dkim_flavour flavour, struct dkim_signature *out);

/* A digest of the message's body of one kind. */
struct body_digest {
    struct body_hash_kind kind;
    unsigned char digest[BODY_HASH_BYTES];
    uint64_t hashed;
};
/* Whether the signature's bh= is the body's. reason: why not. */
bool dkim_body_fits(const struct dkim_signature *s, size_t count, const struct body_digest digests[], const char **reason);

/* Canonical forms (§3.4.1, §3.4.2) of one whole field with its CRLF, added to out. */
void dkim_canonical_field(struct slice raw, bool relaxed, struct buf *out);
/* What is signed of the header: the fields that h names, from the bottom up (§5.4.2), then the signature field itself with its b= emptied and without CRLF
 * (§3.7). */
void dkim_signed_header(struct slice header, const struct dkim_signature *s, struct slice signature_raw, struct buf *out);
/* Adds a signature field with the value of its b= taken out, canonical, without the last CRLF. */
void dkim_field_without_b(struct slice raw, bool relaxed, struct buf *out);

/* Parsed public keys by their text, so that a busy sender's key is decoded once. One a worker; bounded. */
struct dkim_key_cache;
struct dkim_key_cache *dkim_key_cache_create(void);
void dkim_key_cache_destroy(struct dkim_key_cache *c); /* NULL is allowed */

struct dkim_key {
    EVP_PKEY *key;                         /* of the cache, or to be freed with dkim_key_release */
    bool cached, testing, strict_identity; /* t=y, t=s */
    int bits;
};
/* The key of a signature (§3.6.1): TRUST_PENDING, or TRUST_DONE with DKIM_PASS and *key, or with why there is none. */
int dkim_key_fetch(const struct trust_dns *dns, struct dkim_key_cache *cache, const struct dkim_signature *s, struct dkim_key *key, enum dkim_result *result,
                   const char **reason);
void dkim_key_release(struct dkim_key *key);
/* Whether b= is a signature of `data` by key. */
bool dkim_signature_fits(const struct dkim_signature *s, const struct dkim_key *key, struct slice data);

struct dkim_verdict {
    enum dkim_result result;
    const char *reason; /* in words; never NULL */
    struct dkim_signature signature;
    int bits;
    bool testing;
};

/* Verifies the first SIGNATURES_MAX DKIM-Signature fields, from the top. now: seconds since 1970. *count verdicts in the arena.
 * TRUST_PENDING: all keys that are missing have been asked for. */
int dkim_verify(struct arena *arena, struct slice header, size_t digest_count, const struct body_digest digests[], const struct trust_dns *dns,
                struct dkim_key_cache *cache, int64_t now, size_t *count, struct dkim_verdict **verdicts);

/* Adds a "DKIM-Signature: …CRLF" field, relaxed/relaxed, over the fields of the header that should not change, From and others over-signed (once more than they
 * are there, so that none can be added). 0, or -1 when the key cannot sign. */
int dkim_sign(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], struct slice domain, struct slice selector, EVP_PKEY *key, int64_t now,
              struct buf *out);

/* b64-encodes the signature of data by key: SHA-256 of it for Ed25519 too (RFC 8463 §3). 0 or -1. */
int dkim_sign_bytes(EVP_PKEY *key, struct slice data, struct buf *b64);

#endif
