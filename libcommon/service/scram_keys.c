/* The arithmetic of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677 §3), and channel bindings. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <sodium.h>

#include "libcommon/service/scram.h"

static void hmac(const unsigned char key[SCRAM_KEY_BYTES], struct slice text, unsigned char out[SCRAM_KEY_BYTES]) {
    unsigned n = SCRAM_KEY_BYTES;
    HMAC(EVP_sha256(), key, SCRAM_KEY_BYTES, (const unsigned char *)text.p, text.n, out, &n);
}

int scram_keys_create(struct slice password, unsigned iterations, struct scram_keys *out) {
    out->iterations = iterations;
    randombytes_buf(out->salt, sizeof out->salt);
    return scram_keys_derive(password, out);
}

int scram_keys_derive(struct slice password, struct scram_keys *out) {
    unsigned char salted[SCRAM_KEY_BYTES], client[SCRAM_KEY_BYTES];
    struct buf prepared = {0};
    if (saslprep(password, &prepared) != 0) buf_add_slice(&prepared, password);
    int done = PKCS5_PBKDF2_HMAC(buf_str(&prepared), (int)prepared.n, out->salt, sizeof out->salt, (int)out->iterations,
                                 EVP_sha256(), sizeof salted, salted);
    if (done == 1) {
        hmac(salted, SLICE("Client Key"), client);
        SHA256(client, sizeof client, out->stored);
        hmac(salted, SLICE("Server Key"), out->server);
    }
    sodium_memzero(salted, sizeof salted);
    sodium_memzero(client, sizeof client);
    if (prepared.data) sodium_memzero(prepared.data, prepared.n);
    buf_free(&prepared);
    return done == 1 ? 0 : -1;
}

bool scram_check(const struct scram_keys *keys, struct slice auth_message, struct slice proof,
                 unsigned char signature[SCRAM_KEY_BYTES]) {
    unsigned char client[SCRAM_KEY_BYTES], hash[SCRAM_KEY_BYTES];
    if (proof.n != SCRAM_KEY_BYTES) return false;
    hmac(keys->stored, auth_message, client);
    for (size_t i = 0; i < sizeof client; i++) client[i] ^= (unsigned char)proof.p[i];
    SHA256(client, sizeof client, hash);
    hmac(keys->server, auth_message, signature);
    return sodium_memcmp(hash, keys->stored, sizeof hash) == 0;
}

/* RFC 9266 §4: with TLS 1.3, or with extended master secrets (RFC 7627). */
static int exporter(SSL *ssl, struct buf *out) {
    static const char label[] = "EXPORTER-Channel-Binding";
    unsigned char data[32];
    if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1) return -1;
    if (SSL_export_keying_material(ssl, data, sizeof data, label, sizeof label - 1, NULL, 0, 1) != 1) return -1;
    buf_add(out, data, sizeof data);
    return 0;
}

/* RFC 5929 §4.1: the certificate, hashed as its signature is, but not with MD5 or SHA-1. */
static int end_point(SSL *ssl, struct buf *out) {
    X509 *certificate = SSL_get_certificate(ssl);
    unsigned char data[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int digest = NID_undef;
    if (!certificate || X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) != 1 || digest == NID_undef)
        return -1;
    const EVP_MD *md = digest == NID_md5 || digest == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(digest);
    if (!md || X509_digest(certificate, md, data, &n) != 1) return -1;
    buf_add(out, data, n);
    return 0;
}

int scram_binding(void *ssl, struct slice type, struct buf *out) {
    if (!ssl) return -1;
    if (slice_is(type, "tls-exporter")) return exporter(ssl, out);
    if (slice_is(type, "tls-server-end-point")) return end_point(ssl, out);
    return -1;
}
