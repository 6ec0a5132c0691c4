/* DKIM (RFC 6376, with 8301: algorithms, 8463: Ed25519, 8616: internationalised): verifying and
 * making of signatures. Pure functions: keys are looked up through dns.h, bodies are given as
 * hashes (body_hash.h), header fields are read through dkim_header.h. ARC signatures (arc.h) use
 * the same functions.
 *
 * Results (RFC 8601 §2.7.1, which is more precise than PERMFAIL and TEMPFAIL of RFC 6376 §3.9):
 *   pass       the body hash, the time and the signature are right
 *   fail       a usable signature and its key do not match the message (body hash, l= beyond the
 *              body, b=), or x= is in the past
 *   policy     not invalid, but not accepted: t= is in the future, or more different body hashes
 *              are
 *              needed than are computed
 *   temperror  DNS did not answer for the key
 *   permerror  verification is not possible: a malformed signature or key record, no key, a revoked
 *              key, a key for another purpose, an algorithm or RSA size that RFC 8301 excludes
 *              (rsa-sha1, under 1024 bits) or makes optional (over 4096)
 *
 * Bounds: SIGNATURES_MAX signatures are verified (dkim_select: the author's domain first),
 * DKIM_RECORDS_MAX key records of a selector are tried, a key record has DKIM_KEY_RECORD_MAX bytes,
 * a public exponent DKIM_RSA_EXPONENT_BITS_MAX bits. */
#ifndef POSTBUS_TRUST_DKIM_H
#define POSTBUS_TRUST_DKIM_H

#include <openssl/evp.h>

#include "libcommon/base/buf.h"
#include "libcommon/trust/dkim/body_hash.h"
#include "libcommon/trust/dns.h"

enum {
    DKIM_RSA_BITS_MIN = 1024,        /* RFC 8301 §3.2 */
    DKIM_RSA_BITS_MAX = 4096,        /* RFC 8301 §3.2: the largest size that a verifier must
                                        support; larger keys cost too much */
    DKIM_RSA_EXPONENT_BITS_MAX = 64, /* 65537 has 17; with a long exponent a verification costs as
                                        much as a signature */
    DKIM_KEY_RECORD_MAX = 8192,      /* bytes; a 4096-bit key has 740 in base 64 */
    DKIM_RECORDS_MAX = 3,            /* TXT records of one selector that are tried (RFC 6376 §6.1.2
                                        step 4) */
    DKIM_FUTURE_SECONDS = 24 * 3600, /* a t= that is further in the future is not accepted */
    DKIM_STEPS_MAX = 12,             /* lines of explanation for one signature */
};

/* Results in the words of RFC 8601 §2.7.1. */
enum dkim_result { DKIM_NONE, DKIM_PASS, DKIM_FAIL, DKIM_POLICY, DKIM_NEUTRAL, DKIM_TEMPERROR, DKIM_PERMERROR };
const char *dkim_result_text(enum dkim_result r);

/* A signature's tags (§3.5): slices of the field, except d, s and identity. */
struct dkim_signature {
    struct slice a, b, bh, h, i, cv;
    struct slice d, s;     /* A-labels in lower case (RFC 8616 §4), of the arena */
    struct slice identity; /* the domain of i=, as d; d itself without i= */
    bool relaxed_header, ed25519;
    bool no_canonicalization; /* without c=: simple/simple (§3.5); ARC tries relaxed too (arc.h) */
    struct body_hash_kind body;
    int64_t signed_at, expires; /* -1: not given; INT64_MAX: beyond any date */
    uint64_t instance;          /* ARC's i= */
};

enum dkim_flavour { DKIM_SIGNATURE, DKIM_ARC_MESSAGE, DKIM_ARC_SEAL };
/* Returns NULL, or the reason of a permerror; *out then has the tags that could be read. value: of
 * the field, folds included. */
const char *dkim_signature_parse(struct arena *arena, struct slice value, enum dkim_flavour flavour,
                                 struct dkim_signature *out);
/* DKIM_PASS when the signature is valid at this time (t=, x=); otherwise the result and the
 * reason. */
enum dkim_result dkim_signature_in_time(const struct dkim_signature *s, int64_t now, const char **reason);
/* Whether a list separated by colons has this word (case-insensitive). */
bool dkim_list_has(struct slice list, const char *word);
/* Adds the bytes of a base64string (§2.10: white space inside, padding optional): 0 or -1. */
int dkim_base64(struct slice text, struct buf *out);

/* A digest of the message's body of one kind. */
struct body_digest {
    struct body_hash_kind kind;
    unsigned char digest[BODY_HASH_BYTES];
    uint64_t hashed;
};
/* DKIM_PASS when the signature's bh= is the hash of the body; otherwise the result and the reason.
 * *digest: the hash with which it was compared, or NULL. */
enum dkim_result dkim_body_fits(const struct dkim_signature *s, size_t count, const struct body_digest digests[],
                                const struct body_digest **digest, const char **reason);

/* A signature field of the message. */
struct dkim_candidate {
    struct slice raw;  /* the whole field */
    const char *wrong; /* the reason of a permerror, or NULL */
    struct dkim_signature signature;
};
/* Selects the DKIM-Signature fields to verify, in their order in the message. If there are more
 * than SIGNATURES_MAX, signatures whose d= is a domain of the From field, or above or below one,
 * come first (only these can make DMARC pass), then other well-formed ones, then the rest, each
 * from the top. So a sender cannot displace the author's signature by adding others above it,
 * except with invalid ones in the author's name. Returns their number; *total: the number of all
 * such fields. */
size_t dkim_select(struct arena *arena, struct slice header, struct dkim_candidate out[SIGNATURES_MAX], size_t *total);

/* Parsed public keys by their text, so that the key of a frequent sender is decoded once. One cache
 * for each worker; bounded. */
struct dkim_key_cache;
struct dkim_key_cache *dkim_key_cache_create(void);
void dkim_key_cache_destroy(struct dkim_key_cache *c); /* NULL is allowed */

struct dkim_key {
    EVP_PKEY *key;                 /* freed with dkim_key_release, also when the cache holds it */
    bool testing, strict_identity; /* t=y, t=s */
    bool secure;                   /* its record was validated by DNSSEC */
    int bits;
    size_t record;     /* index of the record at the selector */
    struct slice text; /* the record; valid as long as the DNS answer */
};
/* The first usable key of a signature (§3.6.1, §6.1.2), from record `from` of its selector on:
 * TRUST_PENDING, or TRUST_DONE with DKIM_PASS and *key, or with another result and its reason. */
int dkim_key_fetch(const struct trust_dns *dns, struct dkim_key_cache *cache, const struct dkim_signature *s,
                   size_t from, struct dkim_key *key, enum dkim_result *result, const char **reason);
void dkim_key_release(struct dkim_key *key);
/* Whether b= is a signature of `data` by key. */
bool dkim_signature_fits(const struct dkim_signature *s, const struct dkim_key *key, struct slice data);
/* The same, also with the next usable keys of the selector when this one does not match (§6.1.2
 * step 4: the order of records is undefined). *key: the last key that was tried. */
bool dkim_any_key_fits(const struct dkim_signature *s, const struct trust_dns *dns, struct dkim_key_cache *cache,
                       struct dkim_key *key, struct slice data);

/* The input of a verification. */
struct dkim_message {
    struct slice header;
    size_t digest_count;
    const struct body_digest *digests;
    int64_t now;   /* seconds since 1970 */
    bool explain;  /* steps of explanation are requested */
    bool ask_only; /* the caller waits for other DNS answers and will call again: keys are
                      requested, but no signature is computed */
};

struct dkim_verdict {
    enum dkim_result result;
    const char *reason; /* in words; never NULL */
    struct dkim_signature signature;
    int bits;
    bool testing; /* the key's t=y */
    bool secure;  /* the key was validated by DNSSEC */
    size_t step_count;
    const char **steps; /* lookups, hashes and comparisons; printable ASCII */
};

/* Verifies the signatures that dkim_select selects, with *count verdicts in the arena.
 * TRUST_PENDING: all missing keys have been requested. */
int dkim_verify(struct arena *arena, const struct dkim_message *m, const struct trust_dns *dns,
                struct dkim_key_cache *cache, size_t *count, struct dkim_verdict **verdicts);

/* Adds a "DKIM-Signature: …CRLF" field, relaxed/relaxed, with t= and without x= (a message may wait
 * in queues for days, while a replay needs only hours). It covers the header fields that should not
 * change (§5.4.1). Fields that readers display are over-signed: named once more than they occur, so
 * that none can be added. Lines have at most 78 characters where domain and selector allow it. 0,
 * or -1 when the key cannot sign. */
int dkim_sign(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], struct slice domain,
              struct slice selector, EVP_PKEY *key, int64_t now, struct buf *out);

/* b64-encodes the signature of data by key: SHA-256 of it for Ed25519 too (RFC 8463 §3). 0 or
 * -1. */
int dkim_sign_bytes(EVP_PKEY *key, struct slice data, struct buf *b64);

#endif
