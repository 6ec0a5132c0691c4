#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "services/accounts/accounts.h"

int password_hash(const char *password, char out[128]) {
    _Static_assert(crypto_pwhash_STRBYTES <= 128, "room for libsodium's text");
    return crypto_pwhash_str(out, password, strlen(password), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                             crypto_pwhash_MEMLIMIT_INTERACTIVE);
}

/* The public half as DKIM publishes it: SubjectPublicKeyInfo for RSA (RFC 6376 §3.6.1), the 32 raw bytes for Ed25519
 * (RFC 8463 §4.2). */
static int public_half(EVP_PKEY *key, bool ed25519, struct buf *out) {
    unsigned char raw[32], *der = NULL;
    size_t raw_n = sizeof raw;
    if (ed25519) {
        if (EVP_PKEY_get_raw_public_key(key, raw, &raw_n) != 1) return -1;
        base64_encode(slice_make(raw, raw_n), out);
        return 0;
    }
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0) return -1;
    base64_encode(slice_make(der, (size_t)n), out);
    OPENSSL_free(der);
    return 0;
}

json_t *dkim_key_create(const char *algorithm) {
    bool ed25519 = strcmp(algorithm, "ed25519") == 0;
    EVP_PKEY *key = ed25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_RSA_gen(2048);
    BIO *pem = BIO_new(BIO_s_mem());
    struct buf public = {0};
    json_t *made = NULL;
    char when[CLOCK_TEXT_BYTES], *text;
    if (key && pem && PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) == 1 &&
        public_half(key, ed25519, &public) == 0) {
        long n = BIO_get_mem_data(pem, &text);
        made = json_pack("{s:s,s:s%,s:s,s:s}", "algorithm", algorithm, "private_pem", text, (size_t)n, "public_b64",
                         buf_str(&public), "created", clock_rfc3339(clock_wall_ms(), when));
    }
    buf_free(&public);
    BIO_free(pem);
    EVP_PKEY_free(key);
    return made;
}
