#include "libcommon/store/blob/blob_mover.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/store/blob/blob_private.h"

static void on_where(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    uint64_t size = 0;
    if (!error && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
                   slice_to_u64(redis_reply_slice(reply->element[0]), BLOB_MAX, &size) != 0))
        error = STORE_NOT_FOUND;
    ((blob_where_fn *)p.done)(p.ctx, error, size, error ? SLICE("") : redis_reply_slice(reply->element[1]));
}

void blob_where(struct redis *r, struct slice id, blob_where_fn *done, void *ctx) {
    char key[BLOB_KEY_BYTES];
    struct slice command[] = {SLICE("HMGET"), blob_key(key, id), SLICE("n"), SLICE("c")};
    redis_command(r, on_where, PENDING(done, ctx), 4, command);
}

void blob_moved(struct redis *r, struct slice id, struct slice before, struct slice place, uint64_t size,
                struct slice index, blob_done_fn *done, void *ctx) {
    char text[BLOCK_LAYOUT_BYTES];
    struct block_layout layout = block_layout_of(size);
    struct slice args[] = {before, place, block_layout_write(&layout, text), index};
    blob_call(r, pending_on_done, PENDING(done, ctx), "blob_moved", id, 4, args, 0, NULL);
}

static void on_list(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    size_t count = !error && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
    struct slice *items = memory_alloc((count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++) items[i] = redis_reply_slice(reply->element[i]);
    ((blob_list_fn *)p.done)(p.ctx, error, count, items);
    free(items);
}

static void range(struct redis *r, struct slice key, struct slice from, struct slice to, size_t first, int max,
                  blob_list_fn *done, void *ctx) {
    char at[DECIMAL_BYTES], most[DECIMAL_BYTES];
    struct slice command[] = {
        SLICE("ZRANGE"),   key, from, to, SLICE("BYSCORE"), SLICE("LIMIT"), decimal(at, (long long)first),
        decimal(most, max)};
    redis_command(r, on_list, PENDING(done, ctx), 8, command);
}

void blob_large(struct redis *r, int64_t before_ms, int max, blob_list_fn *done, void *ctx) {
    char before[DECIMAL_BYTES];
    range(r, SLICE(COLD_KEY_LARGE), SLICE("-inf"), decimal(before, before_ms), 0, max, done, ctx);
}

void blob_large_forget(struct redis *r, size_t count, const struct slice ids[], blob_done_fn *done, void *ctx) {
    struct slice *command = memory_alloc((count + 2) * sizeof *command);
    command[0] = SLICE("ZREM");
    command[1] = SLICE(COLD_KEY_LARGE);
    memcpy(command + 2, ids, count * sizeof *ids);
    redis_command(r, pending_on_done, PENDING(done, ctx), count + 2, command);
    free(command);
}

enum { NAME_BYTES = ULID_BYTES + 2 };
static struct slice name_of(enum cold_tier tier, const char *segment, char out[NAME_BYTES]) {
    int n = snprintf(out, NAME_BYTES, "%c %s", (int)tier, segment);
    return slice_make(out, (size_t)n);
}

void cold_segment_enter(struct redis *r, enum cold_tier tier, const char *segment, int64_t now_ms, bool written,
                        blob_done_fn *done, void *ctx) {
    char name[NAME_BYTES], now[DECIMAL_BYTES];
    struct slice args[] = {decimal(now, written ? now_ms : -now_ms), name_of(tier, segment, name)};
    redis_fcall(r, pending_on_done, PENDING(done, ctx), "blob_segment", SLICE(COLD_KEY_SEGMENTS), 2, args);
}

void cold_segment_leave(struct redis *r, enum cold_tier tier, const char *segment, blob_done_fn *done, void *ctx) {
    char name[NAME_BYTES];
    struct slice command[] = {SLICE("ZREM"), SLICE(COLD_KEY_SEGMENTS), name_of(tier, segment, name)};
    redis_command(r, pending_on_done, PENDING(done, ctx), 3, command);
}

/* The score of one that is not written is its time below zero. */
void cold_segments(struct redis *r, bool written, int64_t before_ms, size_t first, int max, blob_list_fn *done,
                   void *ctx) {
    char before[DECIMAL_BYTES];
    if (written)
        range(r, SLICE(COLD_KEY_SEGMENTS), SLICE("0"), decimal(before, before_ms), first, max, done, ctx);
    else
        range(r, SLICE(COLD_KEY_SEGMENTS), decimal(before, -before_ms), SLICE("(0"), first, max, done, ctx);
}

static int64_t line_of(const char *info, const char *name) {
    const char *at = strstr(info, name);
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

static void on_memory(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    char *info = memory_copy(error ? SLICE("") : redis_reply_slice(reply));
    ((store_memory_fn *)p.done)(p.ctx, error, line_of(info, "\nused_memory:"), line_of(info, "\nmaxmemory:"));
    free(info);
}

void store_memory(struct redis *r, store_memory_fn *done, void *ctx) {
    struct slice command[] = {SLICE("INFO"), SLICE("memory")};
    redis_command(r, on_memory, PENDING(done, ctx), 2, command);
}
