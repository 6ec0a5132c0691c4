#include "libcommon/net/tls_ticket.h"

#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"

/* Belongs to one context, and so to one worker's thread. keys: of the periods current - 1, current
 * and current + 1. */
struct tickets {
    char *secret;
    int64_t seconds, current;
    struct tls_ticket_key keys[3];
};

static int slot;
static once_flag slot_once = ONCE_FLAG_INIT;

static void on_context_freed(void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp) {
    struct tickets *t = value;
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (!t) return;
    explicit_bzero(t->secret, strlen(t->secret));
    free(t->secret);
    explicit_bzero(t, sizeof *t);
    free(t);
}

static void slot_create(void) {
    slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_freed);
    if (slot < 0) memory_exhausted();
}

void tls_ticket_key_derive(const char *secret, int64_t period, struct tls_ticket_key *out) {
    char info[64], digest[] = "SHA256";
    int n = snprintf(info, sizeof info, "postbus session ticket %" PRId64, period);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *c = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    OSSL_PARAM with[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, strlen(secret)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, (size_t)n),
        OSSL_PARAM_construct_end(),
    };
    if (!c || EVP_KDF_derive(c, (unsigned char *)out, sizeof *out, with) != 1) memory_exhausted();
    EVP_KDF_CTX_free(c);
    EVP_KDF_free(kdf);
}

static void refresh(struct tickets *t) {
    int64_t now = clock_wall_ms() / 1000 / t->seconds;
    if (now == t->current) return;
    t->current = now;
    for (int i = 0; i < 3; i++) tls_ticket_key_derive(t->secret, now - 1 + i, &t->keys[i]);
}

/* RFC 5077 §4, with the results of SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 0: no such key, a full
 * handshake follows; 1: accepted; 2: accepted, and a new ticket is issued; -1: failed. */
static int on_ticket(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int making) {
    struct tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), slot);
    const struct tls_ticket_key *key = NULL;
    char digest[] = "SHA256";
    if (!t) return -1;
    refresh(t);
    if (making) {
        key = &t->keys[1];
        memcpy(name, key->name, sizeof key->name);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
    } else {
        for (int i = 0; i < 3 && !key; i++)
            if (memcmp(name, t->keys[i].name, sizeof key->name) == 0) key = &t->keys[i];
        if (!key) return 0;
    }
    OSSL_PARAM with[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->hmac, sizeof key->hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (EVP_MAC_CTX_set_params(mac, with) != 1 ||
        EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv, making) != 1)
        return -1;
    return making || key == &t->keys[1] ? 1 : 2;
}

void tls_ticket_use(SSL_CTX *context, const char *secret, int64_t seconds) {
    struct tickets *t = memory_alloc(sizeof *t);
    *t = (struct tickets){.secret = memory_copy(slice_of(secret)), .seconds = seconds, .current = -1};
    call_once(&slot_once, slot_create);
    SSL_CTX_set_ex_data(context, slot, t);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
    SSL_CTX_set_timeout(context, seconds * 2);
}
