/* Entries by destination domain: read and changed a page at a time, so that no Function takes
 * long. */
#include <stdlib.h>

#include "libcommon/store/queue/queue_private.h"

/* At most this many of a shard's domains, the first in alphabetical order, are counted. */
enum { DOMAINS_MAX = 20000 };

/* Retry */

struct retrying {
    struct redis *redis;
    struct arena *arena;
    int shard, count;
    struct slice domain;
    queue_done_fn *done;
    void *ctx;
};

static void retry_page(struct retrying *t, struct slice after);

static void on_retried(void *ctx, const redisReply *reply) {
    struct retrying *t = ctx;
    int error = redis_reply_error(reply);
    if (!error && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        struct slice last = redis_reply_slice(reply->element[1]);
        t->count += (int)redis_reply_integer(reply->element[0]);
        if (last.n) {
            retry_page(t, last);
            return;
        }
    }
    if (t->done) t->done(t->ctx, error ? error : t->count);
    arena_destroy(t->arena);
}

static void retry_page(struct retrying *t, struct slice after) {
    struct slice args[] = {t->domain, after};
    queue_call(t->redis, on_retried, t, "queue_retry_domain", t->shard, 2, args);
}

void queue_retry_domain(struct redis *r, int shard, struct slice domain, queue_done_fn *done, void *ctx) {
    struct arena *a = arena_create();
    struct retrying *t = arena_alloc(a, sizeof *t);
    t->redis = r;
    t->arena = a;
    t->shard = shard;
    t->domain = queue_domain(a, slice_of(arena_printf(a, "@%.*s", SLICE_FMT(domain))));
    t->done = done;
    t->ctx = ctx;
    retry_page(t, SLICE(""));
}

/* List */

struct domain_count {
    struct slice domain;
    long long entries;
};

struct listing {
    struct redis *redis;
    struct arena *arena;
    int shard;
    size_t max, count;
    struct domain_count all[DOMAINS_MAX];
    queue_domains_fn *done;
    void *ctx;
};

static int most_first(const void *a, const void *b) {
    const struct domain_count *x = a, *y = b;
    return (x->entries < y->entries) - (x->entries > y->entries);
}

static void listed(struct listing *l, int error) {
    size_t count = error ? 0 : l->count < l->max ? l->count : l->max;
    struct slice *domains = arena_alloc(l->arena, (count + 1) * sizeof *domains);
    long long *entries = arena_alloc(l->arena, (count + 1) * sizeof *entries);
    qsort(l->all, l->count, sizeof *l->all, most_first);
    for (size_t i = 0; i < count; i++) {
        domains[i] = l->all[i].domain;
        entries[i] = l->all[i].entries;
    }
    l->done(l->ctx, error, count, domains, entries);
    arena_destroy(l->arena);
}

static void on_domains(void *ctx, const redisReply *reply);

static void domains_page(struct listing *l, struct slice after) {
    queue_ask(l->redis, on_domains, l, "queue_domains", l->shard, 1, &after);
}

static void on_domains(void *ctx, const redisReply *reply) {
    struct listing *l = ctx;
    int error = redis_reply_error(reply);
    size_t n = error || reply->type != REDIS_REPLY_ARRAY ? 0 : reply->elements;
    for (size_t i = 0; i + 1 < n && l->count < DOMAINS_MAX; i += 2)
        l->all[l->count++] = (struct domain_count){arena_slice(l->arena, redis_reply_slice(reply->element[i])),
                                                   redis_reply_integer(reply->element[i + 1])};
    if (n && l->count < DOMAINS_MAX)
        domains_page(l, l->all[l->count - 1].domain);
    else
        listed(l, error);
}

void queue_domains(struct redis *r, int shard, size_t max, queue_domains_fn *done, void *ctx) {
    struct arena *a = arena_create();
    struct listing *l = arena_alloc(a, sizeof *l);
    l->redis = r;
    l->arena = a;
    l->shard = shard;
    l->max = max;
    l->done = done;
    l->ctx = ctx;
    domains_page(l, SLICE(""));
}
