#include "services/accounts/login_cache.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"

enum { BUCKETS = 4096, DIGEST_BYTES = 32 };

struct entry {
    struct entry *next;
    unsigned char digest[DIGEST_BYTES];
    int64_t until_us;
    char address[];
};

struct login_cache {
    unsigned char key[32];
    size_t max;
    int64_t kept_us;
    pthread_mutex_t lock; /* guards the rest */
    struct entry *buckets[BUCKETS];
    size_t count;
};

struct login_cache *login_cache_create(int kept_seconds, size_t max) {
    struct login_cache *c = memory_alloc(sizeof *c);
    c->kept_us = (int64_t)kept_seconds * 1000000;
    c->max = max;
    pthread_mutex_init(&c->lock, NULL);
    randombytes_buf(c->key, sizeof c->key);
    return c;
}

static void entry_drop(struct login_cache *c, struct entry **at) {
    struct entry *e = *at;
    *at = e->next;
    c->count--;
    sodium_memzero(e->digest, sizeof e->digest);
    free(e);
}

void login_cache_destroy(struct login_cache *c) {
    for (int i = 0; i < BUCKETS; i++)
        while (c->buckets[i]) entry_drop(c, &c->buckets[i]);
    sodium_memzero(c->key, sizeof c->key);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* The bucket of a name, without what is too old in it. With the lock held, as all below. */
static struct entry **bucket_of(struct login_cache *c, const char *address) {
    unsigned char h[crypto_generichash_BYTES_MIN];
    int64_t now = clock_monotonic_us();
    crypto_generichash(h, sizeof h, (const unsigned char *)address, strlen(address), c->key, sizeof c->key);
    struct entry **bucket = &c->buckets[(h[0] | h[1] << 8) % BUCKETS], **at = bucket;
    while (*at)
        if ((*at)->until_us < now)
            entry_drop(c, at);
        else
            at = &(*at)->next;
    return bucket;
}

static struct entry **find(struct login_cache *c, const char *address) {
    struct entry **at = bucket_of(c, address);
    while (*at && strcmp((*at)->address, address) != 0) at = &(*at)->next;
    return at;
}

static void digest_of(const struct login_cache *c, const char *address, const char *stored, const char *password,
                      unsigned char out[DIGEST_BYTES]) {
    crypto_generichash_state h;
    crypto_generichash_init(&h, c->key, sizeof c->key, DIGEST_BYTES);
    crypto_generichash_update(&h, (const unsigned char *)stored, strlen(stored) + 1);
    crypto_generichash_update(&h, (const unsigned char *)address, strlen(address) + 1);
    crypto_generichash_update(&h, (const unsigned char *)password, strlen(password));
    crypto_generichash_final(&h, out, DIGEST_BYTES);
}

bool login_cache_has(struct login_cache *c, const char *address, const char *stored, const char *password) {
    unsigned char digest[DIGEST_BYTES];
    digest_of(c, address, stored, password, digest);
    pthread_mutex_lock(&c->lock);
    const struct entry *e = *find(c, address);
    bool has = e && sodium_memcmp(e->digest, digest, DIGEST_BYTES) == 0;
    pthread_mutex_unlock(&c->lock);
    return has;
}

/* The entry of a name, or a new one; NULL: there are too many. */
static struct entry *entry_of(struct login_cache *c, const char *address) {
    struct entry *e = *find(c, address);
    if (e || c->count >= c->max) return e;
    struct entry **bucket = bucket_of(c, address);
    e = memory_alloc(sizeof *e + strlen(address) + 1);
    memcpy(e->address, address, strlen(address) + 1);
    e->next = *bucket;
    *bucket = e;
    c->count++;
    return e;
}

void login_cache_add(struct login_cache *c, const char *address, const char *stored, const char *password) {
    unsigned char digest[DIGEST_BYTES];
    digest_of(c, address, stored, password, digest);
    pthread_mutex_lock(&c->lock);
    struct entry *e = entry_of(c, address);
    if (e) {
        memcpy(e->digest, digest, DIGEST_BYTES);
        e->until_us = clock_monotonic_us() + c->kept_us;
    }
    pthread_mutex_unlock(&c->lock);
}

void login_cache_forget(struct login_cache *c, const char *address) {
    pthread_mutex_lock(&c->lock);
    struct entry **at = find(c, address);
    if (*at) entry_drop(c, at);
    pthread_mutex_unlock(&c->lock);
}

void login_cache_forget_domain(struct login_cache *c, const char *domain) {
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < BUCKETS; i++)
        for (struct entry **at = &c->buckets[i]; *at;) {
            const char *sign = strrchr((*at)->address, '@');
            if (sign && strcmp(sign + 1, domain) == 0)
                entry_drop(c, at);
            else
                at = &(*at)->next;
        }
    pthread_mutex_unlock(&c->lock);
}

size_t login_cache_count(struct login_cache *c) {
    pthread_mutex_lock(&c->lock);
    size_t count = c->count;
    pthread_mutex_unlock(&c->lock);
    return count;
}
