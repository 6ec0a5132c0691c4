/* DKIM (RFC 6376, with 8301: algorithms, 8463: Ed25519, 8616: internationalised): signatures verified and made. Pure
 * functions: keys come through dns.h, bodies as their hashes (body_hash.h), header fields through dkim_header.h. ARC's
 * signatures (arc.h) are made of the same parts.
 *
 * Which result for what (RFC 8601 §2.7.1, where RFC 6376 §3.9 has but PERMFAIL and TEMPFAIL):
 *   pass       the body hash, the time and the signature fit
 *   fail       a usable signature and its key do not fit the message (body hash, l= beyond the body, b=), or x= is past
 *   policy     nothing wrong with it, but we do not take it: t= is in the future, or more different body hashes are asked for than are computed
 *   temperror  DNS did not answer for the key
 *   permerror  there is nothing that could be verified: a malformed signature or key record, no key, a revoked one, one
 * for something else, an algorithm or an RSA size that RFC 8301 excludes (rsa-sha1, under 1024 bits) or leaves to us
 * (over 4096)
 *
 * Bounds: SIGNATURES_MAX signatures are verified (dkim_select: the author's domain first), DKIM_RECORDS_MAX key records
 * of a selector are tried, a key record has DKIM_KEY_RECORD_MAX bytes, a public exponent DKIM_RSA_EXPONENT_BITS_MAX
 * bits. */
#ifndef POSTBUS_TRUST_DKIM_H
#define POSTBUS_TRUST_DKIM_H

#include <openssl/evp.h>

#include "libcommon/base/buf.h"
#include "libcommon/trust/dkim/body_hash.h"
#include "libcommon/trust/dns.h"

enum {
    DKIM_RSA_BITS_MIN = 1024,        /* RFC 8301 §3.2 */
    DKIM_RSA_BITS_MAX = 4096,        /* RFC 8301 §3.2: what a verifier has to know; more costs too much */
    DKIM_RSA_EXPONENT_BITS_MAX = 64, /* 65537 has 17; a long exponent makes every verification as dear as a signature */
    DKIM_KEY_RECORD_MAX = 8192,      /* bytes; a 4096-bit key has 740 in base 64 */
    DKIM_RECORDS_MAX = 3,            /* TXT records of one selector that are tried (RFC 6376 §6.1.2 step 4) */
    DKIM_FUTURE_SECONDS = 24 * 3600, /* clocks that are further ahead are not believed */
    DKIM_STEPS_MAX = 12,             /* lines for people about one signature */
};

/* Results in the words of RFC 8601 §2.7.1. */
enum dkim_result { DKIM_NONE, DKIM_PASS, DKIM_FAIL, DKIM_POLICY, DKIM_NEUTRAL, DKIM_TEMPERROR, DKIM_PERMERROR };
const char *dkim_result_text(enum dkim_result r);

/* A signature's tags (§3.5): slices of the field, but for d, s and identity. */
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
/* NULL, or why it is a permerror; *out then holds what could be read. value: of the field, folds included. */
const char *dkim_signature_parse(struct arena *arena, struct slice value, enum dkim_flavour flavour,
                                 struct dkim_signature *out);
/* DKIM_PASS when the signature is of this time (t=, x=); else the result, and why. */
enum dkim_result dkim_signature_in_time(const struct dkim_signature *s, int64_t now, const char **reason);
/* Whether a list parted by colons has this word (case-insensitive). */
bool dkim_list_has(struct slice list, const char *word);
/* Adds the bytes of a base64string (§2.10: white space inside, padding optional): 0 or -1. */
int dkim_base64(struct slice text, struct buf *out);

/* A digest of the message's body of one kind. */
struct body_digest {
    struct body_hash_kind kind;
    unsigned char digest[BODY_HASH_BYTES];
    uint64_t hashed;
};
/* DKIM_PASS when the signature's bh= is the body's; else the result, and why. *digest: what it was compared with, or
 * NULL. */
enum dkim_result dkim_body_fits(const struct dkim_signature *s, size_t count, const struct body_digest digests[],
                                const struct body_digest **digest, const char **reason);

/* A signature field of the message. */
struct dkim_candidate {
    struct slice raw;  /* the whole field */
    const char *wrong; /* why it is a permerror, or NULL */
    struct dkim_signature signature;
};
/* The DKIM-Signature fields that are verified, in the order in which they stand: all, or of more than SIGNATURES_MAX
 * those whose d= is a domain of the From field, one above or one below it (only these can give DMARC a pass), then the
 * other well-formed ones, then the rest, each from the top. So nobody can push the author's signature out with others
 * on top, except with ones in the author's name, which do not pass. How many; *total: how many there are. */
size_t dkim_select(struct arena *arena, struct slice header, struct dkim_candidate out[SIGNATURES_MAX], size_t *total);

/* Parsed public keys by their text, so that a busy sender's key is decoded once. One a worker; bounded. */
struct dkim_key_cache;
struct dkim_key_cache *dkim_key_cache_create(void);
void dkim_key_cache_destroy(struct dkim_key_cache *c); /* NULL is allowed */

struct dkim_key {
    EVP_PKEY *key;                 /* freed with dkim_key_release, whether the cache has it too or not */
    bool testing, strict_identity; /* t=y, t=s */
    bool secure;                   /* its record came with DNSSEC */
    int bits;
    size_t record;     /* which of the selector's records it is */
    struct slice text; /* the record, as long as the DNS answer lives */
};
/* The first usable key of a signature (§3.6.1, §6.1.2), from record `from` of its selector on: TRUST_PENDING, or
 * TRUST_DONE with DKIM_PASS and *key, or with why there is none. */
int dkim_key_fetch(const struct trust_dns *dns, struct dkim_key_cache *cache, const struct dkim_signature *s,
                   size_t from, struct dkim_key *key, enum dkim_result *result, const char **reason);
void dkim_key_release(struct dkim_key *key);
/* Whether b= is a signature of `data` by key. */
bool dkim_signature_fits(const struct dkim_signature *s, const struct dkim_key *key, struct slice data);
/* The same with the next usable keys of the selector, when this one does not fit (§6.1.2 step 4: the order of records
 * is nobody's). *key: the last one tried.
 */
bool dkim_any_key_fits(const struct dkim_signature *s, const struct trust_dns *dns, struct dkim_key_cache *cache,
                       struct dkim_key *key, struct slice data);

/* What is to be verified. */
struct dkim_message {
    struct slice header;
    size_t digest_count;
    const struct body_digest *digests;
    int64_t now;   /* seconds since 1970 */
    bool explain;  /* steps for people are wanted */
    bool ask_only; /* the caller waits for other answers of DNS and will call again: keys are asked for, nothing is
                      computed */
};

struct dkim_verdict {
    enum dkim_result result;
    const char *reason; /* in words; never NULL */
    struct dkim_signature signature;
    int bits;
    bool testing; /* the key's t=y */
    bool secure;  /* the key came with DNSSEC */
    size_t step_count;
    const char **steps; /* what was looked up, hashed and compared; printable ASCII */
};

/* Verifies the signatures that dkim_select picks. *count verdicts in the arena. TRUST_PENDING: all keys that are
 * missing have been asked for. */
int dkim_verify(struct arena *arena, const struct dkim_message *m, const struct trust_dns *dns,
                struct dkim_key_cache *cache, size_t *count, struct dkim_verdict **verdicts);

/* Adds a "DKIM-Signature: …CRLF" field, relaxed/relaxed, dated (t=) and without end (x=: a message may wait in queues
 * for days, and a replay has hours), over the fields of the header that should not change (§5.4.1), those that a reader
 * is shown over-signed: named once more than they are there, so that none can be added. Lines have at most 78
 * characters where domain and selector allow it. 0, or -1 when the key cannot sign. */
int dkim_sign(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], struct slice domain,
              struct slice selector, EVP_PKEY *key, int64_t now, struct buf *out);

/* b64-encodes the signature of data by key: SHA-256 of it for Ed25519 too (RFC 8463 §3). 0 or -1. */
int dkim_sign_bytes(EVP_PKEY *key, struct slice data, struct buf *b64);

#endif
