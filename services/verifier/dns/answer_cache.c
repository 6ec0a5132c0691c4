#include "services/verifier/dns/answer_cache.h"

#include <stdlib.h>

struct entry {
    struct entry *chain;         /* in its bucket */
    struct entry *newer, *older; /* in order of use */
    struct arena *arena;         /* holds the answer and the name */
    struct slice name;
    int type;
    uint64_t hash;
    int64_t until_us;
    size_t bytes;
    struct answer *answer;
};

struct answer_cache {
    struct entry **buckets;
    size_t bucket_count, entries, entries_max, bytes;
    struct entry *newest, *oldest;
};

/* FNV-1a: names are bounded in length and the table in size, so a chain that an attacker makes long
 * has at most all entries of the table. */
static uint64_t hash_of(struct slice name, int type) {
    uint64_t h = 1469598103934665603u ^ (uint64_t)type;
    for (size_t i = 0; i < name.n; i++) h = (h ^ (unsigned char)name.p[i]) * 1099511628211u;
    return h;
}

struct answer_cache *answer_cache_create(size_t entries_max) {
    struct answer_cache *c = memory_alloc(sizeof *c);
    c->entries_max = entries_max;
    for (c->bucket_count = 16; c->bucket_count < entries_max; c->bucket_count *= 2) continue;
    c->buckets = memory_alloc(c->bucket_count * sizeof *c->buckets);
    return c;
}

static void unlink_use(struct answer_cache *c, struct entry *e) {
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(struct answer_cache *c, struct entry *e) {
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static struct entry **place_of(struct answer_cache *c, struct slice name, int type, uint64_t hash) {
    struct entry **place = &c->buckets[hash & (c->bucket_count - 1)];
    while (*place && !((*place)->hash == hash && (*place)->type == type && slice_equal((*place)->name, name)))
        place = &(*place)->chain;
    return place;
}

static void drop(struct answer_cache *c, struct entry **place) {
    struct entry *e = *place;
    *place = e->chain; // NOLINT(clang-analyzer-core.NullDereference): what is in the list of use is in its bucket
    unlink_use(c, e);
    c->entries--;
    c->bytes -= e->bytes;
    arena_destroy(e->arena);
    free(e);
}

void answer_cache_destroy(struct answer_cache *c) {
    if (!c) return;
    while (c->oldest) drop(c, place_of(c, c->oldest->name, c->oldest->type, c->oldest->hash));
    free(c->buckets);
    free(c);
}

const struct answer *answer_cache_get(struct answer_cache *c, struct slice name, int type, int64_t now_us) {
    struct entry **place = place_of(c, name, type, hash_of(name, type));
    if (!*place) return NULL;
    if ((*place)->until_us <= now_us) {
        drop(c, place);
        return NULL;
    }
    unlink_use(c, *place);
    link_newest(c, *place);
    return (*place)->answer;
}

void answer_cache_put(struct answer_cache *c, struct slice name, int type, const struct answer *a, uint32_t seconds,
                      int64_t now_us) {
    uint64_t hash = hash_of(name, type);
    struct entry **place = place_of(c, name, type, hash);
    if (*place) drop(c, place);
    if (seconds == 0) return;
    struct entry *e = memory_alloc(sizeof *e);
    e->arena = arena_create();
    e->name = arena_slice(e->arena, name);
    e->type = type, e->hash = hash;
    e->until_us = now_us + (int64_t)seconds * 1000000;
    e->answer = answer_copy(e->arena, a);
    e->bytes = sizeof *e + arena_used(e->arena);
    e->chain = c->buckets[hash & (c->bucket_count - 1)];
    c->buckets[hash & (c->bucket_count - 1)] = e;
    link_newest(c, e);
    c->entries++;
    c->bytes += e->bytes;
    while (c->entries > c->entries_max || (c->bytes > ANSWER_CACHE_BYTES_MAX && c->entries > 1))
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): with entries there is an oldest */
        drop(c, place_of(c, c->oldest->name, c->oldest->type, c->oldest->hash));
}
