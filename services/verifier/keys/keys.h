/* A hosted domain's DKIM keys, from accounts.key.get: private keys parsed once, asked for again after
 * POSTBUS_DKIM_KEYS_SECONDS (KEYS_SECONDS) and dropped at account.changed, or asked for again when such events may have
 * been lost. While accounts cannot be reached the known keys are used on, KEYS_LAST_SECONDS at most, so that mail still
 * leaves. */
#ifndef POSTBUS_VERIFIER_KEYS_H
#define POSTBUS_VERIFIER_KEYS_H

#include <openssl/evp.h>

#include "services/verifier/verifier.h"

enum {
    KEYS_SECONDS = 60,
    KEYS_LAST_SECONDS = 3600,
    KEYS_DOMAINS_MAX = 4096,
    KEYS_PER_DOMAIN_MAX = 16,
    KEYS_ASK_TIMEOUT_MS = 5000
};

/* A key is published in every state; only an active one signs (see services/accounts/keys.c). */
struct signing_key {
    char selector[64];
    char algorithm[32];    /* "rsa-sha256", "ed25519-sha256" */
    char *public_b64;      /* as published in p=; "": revoked (RFC 6376 §3.6.1) */
    EVP_PKEY *private_key; /* NULL: not active, does not sign */
};

/* Shared between the cache and the jobs that use it at present. */
struct domain_keys {
    int references;
    size_t count;
    struct signing_key keys[KEYS_PER_DOMAIN_MAX];
};

struct key_cache *key_cache_create(struct verifier *v);
void key_cache_destroy(struct key_cache *c);

/* keys: NULL when there are none; then code is "not_found" or "unavailable". Valid during the call,
 * or longer with domain_keys_hold. */
typedef void key_cache_fn(void *ctx, struct domain_keys *keys, const char *code);
/* done may be called before this returns. */
void key_cache_get(struct key_cache *c, struct slice domain, key_cache_fn *done, void *ctx);
/* Whether one of them can sign. */
bool domain_keys_can_sign(const struct domain_keys *keys);
/* Removes a domain's keys from the cache. */
void key_cache_drop(struct key_cache *c, struct slice domain);

struct domain_keys *domain_keys_hold(struct domain_keys *keys);
void domain_keys_release(struct domain_keys *keys); /* on the loop */

#endif
