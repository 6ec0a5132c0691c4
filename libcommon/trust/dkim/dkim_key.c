/* Public keys from DNS (RFC 6376 §3.6), and their restrictions on signatures. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdlib.h>

#include "libcommon/trust/dkim/dkim.h"
#include "libcommon/trust/tags.h"

enum { CACHE_SLOTS = 512, NAME_MAX_BYTES = 253, RECORDS_SEEN_MAX = 10 };

struct slot {
    unsigned char digest[16];
    EVP_PKEY *key;
};

struct dkim_key_cache {
    struct slot slots[CACHE_SLOTS];
};

struct dkim_key_cache *dkim_key_cache_create(void) { return memory_alloc(sizeof(struct dkim_key_cache)); }

void dkim_key_cache_destroy(struct dkim_key_cache *c) {
    if (!c) return;
    for (int i = 0; i < CACHE_SLOTS; i++) EVP_PKEY_free(c->slots[i].key);
    free(c);
}

static EVP_PKEY *decode(struct slice p, bool ed25519) {
    struct buf bytes = {0};
    EVP_PKEY *key = NULL;
    if (dkim_base64(p, &bytes) == 0) {
        const unsigned char *at = (const unsigned char *)bytes.data;
        if (ed25519) {
            if (bytes.n == 32) key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, at, 32);
        } else {
            key = d2i_PUBKEY(NULL, &at, (long)bytes.n);
            if (!key) { /* some domains publish the bare RSAPublicKey (erratum 3017) */
                at = (const unsigned char *)bytes.data;
                key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)bytes.n);
            }
            if (key && EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
                EVP_PKEY_free(key);
                key = NULL;
            }
        }
    }
    ERR_clear_error();
    buf_free(&bytes);
    return key;
}

/* The key, with a reference for the caller: the cache may drop its own at the next request. */
static EVP_PKEY *decode_cached(struct dkim_key_cache *cache, struct slice p, bool ed25519) {
    unsigned char digest[16];
    if (!cache) return decode(p, ed25519);
    crypto_generichash(digest, sizeof digest, (const unsigned char *)p.p, p.n,
                       (const unsigned char *)(ed25519 ? "ed25519-ed25519!" : "rsa-rsa-rsa-rsa!"), 16);
    struct slot *slot = &cache->slots[(digest[0] | digest[1] << 8) % CACHE_SLOTS];
    if (!slot->key || memcmp(slot->digest, digest, sizeof digest) != 0) {
        EVP_PKEY *key = decode(p, ed25519);
        if (!key) return NULL;
        EVP_PKEY_free(slot->key);
        slot->key = key;
        memcpy(slot->digest, digest, sizeof digest);
    }
    EVP_PKEY_up_ref(slot->key);
    return slot->key;
}

/* Whether the exponent of an RSA key is short enough; otherwise the key is refused before any
 * computation with it. */
static bool exponent_is_sane(EVP_PKEY *key) {
    BIGNUM *e = NULL;
    bool sane = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_num_bits(e) > 1 &&
                BN_num_bits(e) <= DKIM_RSA_EXPONENT_BITS_MAX && BN_is_odd(e);
    BN_free(e);
    ERR_clear_error();
    return sane;
}

/* Reads a key record for this signature: returns NULL and the key, or the reason of a permerror. */
static const char *take_record(struct slice txt, struct dkim_key_cache *cache, const struct dkim_signature *s,
                               struct dkim_key *key) {
    struct tag tag;
    struct slice rest = txt, v = {0}, k = {0}, h = {0}, p = {0}, services = {0}, t = {0};
    bool first = true;
    if (txt.n > DKIM_KEY_RECORD_MAX) return "the key record is too large";
    if (!tags_are_valid(txt)) return "the key record is malformed";
    while (tag_next(&rest, &tag) == 1) {
        if (slice_is(tag.name, "v") && !first) return "v= of the key record is not first";
        if (tag.name.n == 1) switch (tag.name.p[0]) {
            case 'v': v = tag.value; break;
            case 'k': k = tag.value; break;
            case 'h': h = tag.value; break;
            case 'p': p = tag.value; break;
            case 's': services = tag.value; break;
            case 't': t = tag.value; break;
            }
        first = false;
    }
    if (v.p && !slice_is(v, "DKIM1")) return "v= of the key record is not DKIM1";
    if (!p.p) return "the key record has no p=";
    if (!p.n) return "the key was revoked (p= is empty)";
    if (h.p && !dkim_list_has(h, "sha256")) return "the key is not for sha256";
    if (services.p && !dkim_list_has(services, "*") && !dkim_list_has(services, "email"))
        return "the key is not for email";
    if (k.p && !slice_is_nocase(k, s->ed25519 ? "ed25519" : "rsa"))
        return "the key is of another algorithm than the signature";
    if (!k.p && s->ed25519) return "the key is of another algorithm than the signature"; /* k= defaults to rsa */
    key->testing = dkim_list_has(t, "y");
    key->strict_identity = dkim_list_has(t, "s");
    key->key = decode_cached(cache, p, s->ed25519);
    if (!key->key) return "the key cannot be decoded";
    key->bits = EVP_PKEY_get_bits(key->key);
    if (!s->ed25519 && (key->bits < DKIM_RSA_BITS_MIN || key->bits > DKIM_RSA_BITS_MAX)) {
        dkim_key_release(key);
        return "the RSA key is shorter than 1024 or longer than 4096 bits (RFC 8301 section 3.2)";
    }
    if (!s->ed25519 && !exponent_is_sane(key->key)) {
        dkim_key_release(key);
        return "the RSA key's public exponent is even, 1 or longer than 64 bits";
    }
    if (key->strict_identity && s->identity.n && !slice_equal(s->identity, s->d)) { /* §3.6.1 t=s */
        dkim_key_release(key);
        return "the key asks (t=s) that i= be of the domain itself";
    }
    return NULL;
}

int dkim_key_fetch(const struct trust_dns *dns, struct dkim_key_cache *cache, const struct dkim_signature *s,
                   size_t from, struct dkim_key *key, enum dkim_result *result, const char **reason) {
    *key = (struct dkim_key){0};
    *result = DKIM_PERMERROR;
    if (s->s.n + s->d.n + strlen("._domainkey.") > NAME_MAX_BYTES) {
        *reason = "selector and domain are too long";
        return TRUST_DONE;
    }
    struct buf name = {0};
    buf_printf(&name, "%.*s._domainkey.%.*s", SLICE_FMT(s->s), SLICE_FMT(s->d)); /* §3.6.2.1 */
    const struct trust_answer *a = dns->lookup(dns->ctx, buf_slice(&name), TRUST_TXT);
    buf_free(&name);
    if (!a) return TRUST_PENDING;
    if (a->status == TRUST_DNS_FAILED) {
        *result = DKIM_TEMPERROR;
        *reason = "DNS gave no answer for the key";
        return TRUST_DONE;
    }
    *reason = "there is no key: no TXT record at the selector"; /* §6.1.2 step 3 */
    for (size_t i = from; a->status == TRUST_DNS_OK && i < a->count && i < RECORDS_SEEN_MAX; i++) {
        key->text = a->records[i].data;
        key->secure = a->secure;
        key->record = i;
        *reason = take_record(a->records[i].data, cache, s, key);
        if (!*reason) {
            *result = DKIM_PASS;
            return TRUST_DONE;
        }
    }
    return TRUST_DONE;
}

bool dkim_any_key_fits(const struct dkim_signature *s, const struct trust_dns *dns, struct dkim_key_cache *cache,
                       struct dkim_key *key, struct slice data) {
    bool fits = dkim_signature_fits(s, key, data);
    for (int tried = 1; !fits && tried < DKIM_RECORDS_MAX; tried++) {
        struct dkim_key next;
        enum dkim_result result;
        const char *reason;
        if (dkim_key_fetch(dns, cache, s, key->record + 1, &next, &result, &reason) != TRUST_DONE || !next.key) break;
        dkim_key_release(key);
        *key = next;
        fits = dkim_signature_fits(s, key, data);
    }
    return fits;
}

void dkim_key_release(struct dkim_key *key) {
    EVP_PKEY_free(key->key);
    key->key = NULL;
}

/* RFC 8463 §3: PureEdDSA over the SHA-256 of the data. Uses libsodium, which takes half the time of
 * OpenSSL. */
static bool ed25519_fits(struct slice signature, EVP_PKEY *key, struct slice data) {
    unsigned char digest[crypto_hash_sha256_BYTES], raw[crypto_sign_PUBLICKEYBYTES];
    size_t raw_n = sizeof raw;
    unsigned digest_n = 0;
    return signature.n == crypto_sign_BYTES && EVP_PKEY_get_raw_public_key(key, raw, &raw_n) == 1 &&
           raw_n == sizeof raw && EVP_Digest(data.p, data.n, digest, &digest_n, EVP_sha256(), NULL) == 1 &&
           crypto_sign_verify_detached((const unsigned char *)signature.p, digest, sizeof digest, raw) == 0;
}

static bool rsa_fits(struct slice signature, EVP_PKEY *key, struct slice data) {
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md) memory_exhausted();
    bool fits = EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(md, (const unsigned char *)signature.p, signature.n, (const unsigned char *)data.p,
                                 data.n) == 1;
    EVP_MD_CTX_free(md);
    return fits;
}

bool dkim_signature_fits(const struct dkim_signature *s, const struct dkim_key *key, struct slice data) {
    struct buf signature = {0};
    bool fits = dkim_base64(s->b, &signature) == 0 && (s->ed25519 ? ed25519_fits(buf_slice(&signature), key->key, data)
                                                                  : rsa_fits(buf_slice(&signature), key->key, data));
    if (!fits) ERR_clear_error();
    buf_free(&signature);
    return fits;
}
