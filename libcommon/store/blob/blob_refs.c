/* The references of a body, and the list of all bodies. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/store/blob/blob_private.h"

struct slice blob_key(char out[BLOB_KEY_BYTES], struct slice id) {
    int n = snprintf(out, BLOB_KEY_BYTES, "b:{%.*s}", SLICE_FMT(id));
    return slice_make(out, (size_t)n < BLOB_KEY_BYTES ? (size_t)n : BLOB_KEY_BYTES - 1);
}

void blob_call(struct redis *r, redis_reply_fn *fn, void *ctx, const char *function, struct slice id,
               size_t first_count, const struct slice first[], size_t ref_count, const struct slice refs[]) {
    char key[BLOB_KEY_BYTES];
    struct slice *args = memory_alloc((first_count + ref_count + 1) * sizeof *args);
    if (first_count) memcpy(args, first, first_count * sizeof *args);
    if (ref_count) memcpy(args + first_count, refs, ref_count * sizeof *args);
    redis_fcall(r, fn, ctx, function, blob_key(key, id), first_count + ref_count, args);
    free(args);
}

void blob_hold(struct redis *r, struct slice id, const char *ref, blob_done_fn *done, void *ctx) {
    struct slice arg = slice_of(ref);
    blob_call(r, pending_on_done, PENDING(done, ctx), "blob_hold", id, 0, NULL, 1, &arg);
}

void blob_release(struct redis *r, struct slice id, size_t ref_count, const struct slice refs[], blob_done_fn *done,
                  void *ctx) {
    blob_call(r, pending_on_done, PENDING(done, ctx), "blob_release", id, 0, NULL, ref_count, refs);
}

void blob_forget(struct redis *r, struct slice id, int64_t before_ms, blob_done_fn *done, void *ctx) {
    char text[DECIMAL_BYTES];
    struct slice arg = decimal(text, before_ms);
    blob_call(r, pending_on_done, PENDING(done, ctx), "blob_forget", id, 1, &arg, 0, NULL);
}

/* The strings of a list; the receiver frees the array. */
static struct slice *strings(const redisReply *list, size_t *count) {
    *count = list && list->type == REDIS_REPLY_ARRAY ? list->elements : 0;
    struct slice *all = memory_alloc(*count * sizeof *all);
    for (size_t i = 0; i < *count; i++) all[i] = redis_reply_slice(list->element[i]);
    return all;
}

static void on_refs(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    size_t count;
    struct slice *refs = strings(error ? NULL : reply, &count);
    ((blob_refs_fn *)p.done)(p.ctx, error, count, refs);
    free(refs);
}

void blob_refs(struct redis *r, struct slice id, blob_refs_fn *done, void *ctx) {
    char key[BLOB_KEY_BYTES];
    redis_fcall_ro(r, on_refs, PENDING(done, ctx), "blob_refs", blob_key(key, id), 0, NULL);
}

static void on_scan(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    bool whole = !error && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2;
    uint64_t next = 0;
    size_t count;
    struct slice *ids = strings(whole ? reply->element[1] : NULL, &count);
    if (whole) slice_to_u64(redis_reply_slice(reply->element[0]), UINT64_MAX, &next);
    for (size_t i = 0; i < count; i++) { /* b:{<id>} */
        ids[i] = slice_skip(ids[i], 3);
        if (ids[i].n) ids[i].n--;
    }
    ((blob_scan_fn *)p.done)(p.ctx, error, next, count, ids);
    free(ids);
}

void blob_scan(struct redis *r, uint64_t cursor, blob_scan_fn *done, void *ctx) {
    char text[DECIMAL_BYTES];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)cursor);
    struct slice command[] = {
        SLICE("SCAN"), slice_make(text, (size_t)n), SLICE("MATCH"), SLICE("b:{*}"), SLICE("COUNT"), SLICE("512")};
    redis_command(r, on_scan, PENDING(done, ctx), 6, command);
}
