/* What an account keeps of its password: argon2id, for passwords as they are typed ("password"), and
 * the keys of SCRAM-SHA-256 ("scram_sha256", RFC 5802 §3). Both are made together. */
#include <openssl/hmac.h>
#include <sodium.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/config.h"
#include "services/accounts/accounts.h"

static unsigned iterations = SCRAM_ITERATIONS;

void credentials_configure(void) {
    iterations = (unsigned)config_number("POSTBUS_SCRAM_ITERATIONS", SCRAM_ITERATIONS, SCRAM_ITERATIONS_MIN,
                                         SCRAM_ITERATIONS_MAX);
}

unsigned credentials_iterations(void) { return iterations; }

int credentials_create(const char *password, struct credentials *out) {
    return password_hash(password, out->hash) == 0 &&
                   scram_keys_create(slice_of(password), iterations, &out->scram) == 0
               ? 0
               : -1;
}

static json_t *bytes_text(const unsigned char *bytes, size_t n) {
    struct buf text = {0};
    base64_encode(slice_make((const char *)bytes, n), &text);
    json_t *made = json_string(buf_str(&text));
    buf_free(&text);
    return made;
}

void credentials_put(json_t *account, const struct credentials *c) {
    json_object_set_new(account, "password", json_string(c->hash));
    json_object_set_new(account, "scram_sha256",
                        json_pack("{s:I,s:o,s:o,s:o}", "iterations", (json_int_t)c->scram.iterations, "salt",
                                  bytes_text(c->scram.salt, sizeof c->scram.salt), "stored_key",
                                  bytes_text(c->scram.stored, sizeof c->scram.stored), "server_key",
                                  bytes_text(c->scram.server, sizeof c->scram.server)));
}

static bool take_bytes(const json_t *object, const char *name, unsigned char *out, size_t n) {
    struct buf bytes = {0};
    const char *text = json_string_value(json_object_get(object, name));
    bool right = text && base64_decode(slice_of(text), false, &bytes) == 0 && bytes.n == n;
    if (right) memcpy(out, bytes.data, n);
    buf_free(&bytes);
    return right;
}

bool credentials_scram(const json_t *account, struct scram_keys *out) {
    const json_t *kept = json_object_get(account, "scram_sha256");
    json_int_t n = json_integer_value(json_object_get(kept, "iterations"));
    out->iterations = (unsigned)n;
    return n >= SCRAM_ITERATIONS_MIN && n <= SCRAM_ITERATIONS_MAX &&
           take_bytes(kept, "salt", out->salt, sizeof out->salt) &&
           take_bytes(kept, "stored_key", out->stored, sizeof out->stored) &&
           take_bytes(kept, "server_key", out->server, sizeof out->server);
}

/* RFC 5802 §9 does not say what an unknown user is told: here the same salt each time, as a known one
 * is, so that nobody finds out which accounts there are. */
void credentials_no_salt(struct slice secret, const char *address, unsigned char salt[SCRAM_SALT_BYTES]) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    HMAC(EVP_sha256(), secret.p, (int)secret.n, (const unsigned char *)address, strlen(address), hash, &n);
    memcpy(salt, hash, SCRAM_SALT_BYTES);
}
