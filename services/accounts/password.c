#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdio.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "services/accounts/accounts.h"
#include "services/accounts/hash_memory.h"

/* OWASP's minimum for argon2id (m=19 MiB, t=2, p=1): a core computes several times as many as with
 * libsodium's "interactive" parameters (64 MiB), which determines how fast all clients can log in
 * again after a restart. */
enum { HASH_PASSES = 2, PASSWORD_MIN_DEFAULT = 6, PASSWORD_MIN_MAX = 64 };

static int64_t password_min = PASSWORD_MIN_DEFAULT;

/* The most common passwords that are long enough. */
static const char *const worst[] = {
    "123456",    "1234567",  "111111",     "000000",    "123123",     "654321",     "666666",   "121212",   "qwerty",
    "azerty",    "abc123",   "abcdef",     "letmein",   "monkey",     "dragon",     "master",   "shadow",   "password",
    "password1", "passw0rd", "12345678",   "123456789", "1234567890", "87654321",   "11111111", "00000000", "88888888",
    "12341234",  "qwertyui", "qwertyuiop", "qwerty123", "1q2w3e4r",   "1qaz2wsx",   "asdfghjk", "asdfasdf", "iloveyou",
    "sunshine",  "princess", "football",   "baseball",  "superman",   "trustno1",   "welcome1", "letmein1", "changeme",
    "starwars",  "computer", "abcdefgh",   "abcd1234",  "admin123",   "postmaster", "postbus1", "p@ssw0rd"};

void password_configure(void) {
    password_min = config_number("POSTBUS_PASSWORD_MIN", PASSWORD_MIN_DEFAULT, 1, PASSWORD_MIN_MAX);
}

/* NIST SP 800-63B §5.1.1.2: a length in characters and a list of known bad ones, and no rules on
 * its characters. */
const char *password_problem(const json_t *password) {
    static _Thread_local char text[96];
    const char *p = json_string_value(password);
    int64_t characters = 0;
    if (!p || json_string_length(password) != strlen(p) || json_string_length(password) > PASSWORD_BYTES_MAX)
        return "the password is a text of at most 1024 bytes";
    for (const char *c = p; *c; c++) characters += (*c & 0xc0) != 0x80;
    if (characters < password_min) {
        snprintf(text, sizeof text, "the password is too short: it needs at least %lld characters",
                 (long long)password_min);
        return text;
    }
    for (size_t i = 0; i < sizeof worst / sizeof *worst; i++)
        if (strcasecmp(p, worst[i]) == 0) return "the password is one of those that are guessed first: choose another";
    return NULL;
}

int password_hash(const char *password, char out[128]) {
    _Static_assert(crypto_pwhash_STRBYTES <= 128, "room for libsodium's text");
    return crypto_pwhash_str(out, password, strlen(password), HASH_PASSES, hash_memory_bytes());
}

bool password_is_outdated(const char *stored) {
    return crypto_pwhash_str_needs_rehash(stored, HASH_PASSES, hash_memory_bytes()) != 0;
}

/* The public half as DKIM publishes it: SubjectPublicKeyInfo for RSA (RFC 6376 §3.6.1), the 32 raw
 * bytes for Ed25519 (RFC 8463 §4.2). */
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
