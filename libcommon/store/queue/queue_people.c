/* Operations of administrators and of the janitor on entries: list, retry, hold, delete. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/store/queue/queue_private.h"

enum { HAS_MAX = 512 };

void queue_retry(struct redis *r, struct slice id, queue_done_fn *done, void *ctx) {
    queue_call(r, pending_on_done, PENDING(done, ctx), "queue_retry", queue_shard_of(id), 1, &id);
}

void queue_hold(struct redis *r, struct slice id, bool hold, queue_done_fn *done, void *ctx) {
    struct slice args[] = {id, hold ? SLICE("1") : SLICE("0")};
    queue_call(r, pending_on_done, PENDING(done, ctx), "queue_hold", queue_shard_of(id), 2, args);
}

void queue_set_priority(struct redis *r, struct slice id, int priority, queue_done_fn *done, void *ctx) {
    char a[DECIMAL_BYTES];
    struct slice args[] = {id, decimal(a, priority < -9 ? -9 : priority > 9 ? 9 : priority)};
    queue_call(r, pending_on_done, PENDING(done, ctx), "queue_priority", queue_shard_of(id), 2, args);
}

static void on_entries(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    struct envelope *entries[QUEUE_LEASE_MAX];
    int error = redis_reply_error(reply);
    size_t count = queue_elements(reply, error);
    bool damaged;
    for (size_t i = 0; i < count; i++) entries[i] = queue_read(reply->element[i], &damaged);
    ((queue_entries_fn *)p.done)(p.ctx, error, count, entries);
}

void queue_delete(struct redis *r, struct slice id, queue_entries_fn *done, void *ctx) {
    queue_call(r, on_entries, PENDING(done, ctx), "queue_delete", queue_shard_of(id), 1, &id);
}

void queue_get(struct redis *r, struct slice id, queue_entries_fn *done, void *ctx) {
    queue_ask(r, on_entries, PENDING(done, ctx), "queue_get", queue_shard_of(id), 1, &id);
}

static void on_list(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    struct queue_view views[QUEUE_LEASE_MAX] = {0};
    int error = redis_reply_error(reply);
    size_t count = queue_elements(reply, error);
    for (size_t i = 0; i < count; i++) {
        const redisReply *entry = reply->element[i];
        bool damaged;
        views[i].envelope = queue_read(entry, &damaged);
        if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 8) continue;
        views[i].due_ms = redis_reply_integer(entry->element[5]); /* 0 for "inf", that is, a held one */
        views[i].leased = redis_reply_integer(entry->element[6]) != 0;
        views[i].held = redis_reply_integer(entry->element[7]) != 0;
    }
    ((queue_list_fn *)p.done)(p.ctx, error, count, views);
    for (size_t i = 0; i < count; i++) envelope_destroy(views[i].envelope);
}

void queue_list(struct redis *r, int shard, enum queue_index which, struct slice domain, size_t offset, size_t max,
                queue_list_fn *done, void *ctx) {
    static const char *const names[] = {"due", "held", "dead"};
    char a[DECIMAL_BYTES], b[DECIMAL_BYTES];
    struct arena *arena = arena_create();
    char *address = arena_printf(arena, "@%.*s", SLICE_FMT(domain));
    struct slice args[] = {slice_of(names[which]), domain.n ? queue_domain(arena, slice_of(address)) : domain,
                           decimal(a, (long long)offset),
                           decimal(b, max < QUEUE_LEASE_MAX ? (long long)max : QUEUE_LEASE_MAX)};
    queue_ask(r, on_list, PENDING(done, ctx), "queue_list", shard, 4, args);
    arena_destroy(arena);
}

static void on_stat(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    long long values[4] = {0};
    for (size_t i = 0; !error && i < reply->elements && i < 4; i++) values[i] = redis_reply_integer(reply->element[i]);
    ((queue_stat_fn *)p.done)(p.ctx, error, values[0], values[1], values[2], values[3]);
}

void queue_stat(struct redis *r, int shard, queue_stat_fn *done, void *ctx) {
    queue_ask(r, on_stat, PENDING(done, ctx), "queue_stat", shard, 0, NULL);
}

static void on_has(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    bool found[HAS_MAX] = {false};
    size_t count = error || reply->type != REDIS_REPLY_ARRAY ? 0 : reply->elements;
    if (count > HAS_MAX) count = HAS_MAX;
    for (size_t i = 0; i < count; i++) found[i] = redis_reply_integer(reply->element[i]) != 0;
    ((queue_has_fn *)p.done)(p.ctx, error, count, found);
}

void queue_has(struct redis *r, int shard, size_t count, const struct slice ids[], queue_has_fn *done, void *ctx) {
    queue_ask(r, on_has, PENDING(done, ctx), "queue_has", shard, count < HAS_MAX ? count : HAS_MAX, ids);
}
