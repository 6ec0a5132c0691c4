#include "libcommon/store/blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <threads.h>
#include <zstd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/log.h"
#include "libcommon/store/pending.h"

/* Level 1 takes about 20 µs for a 4 KB mail and halves it. A message is never larger than
 * MESSAGE_MAX, even if a damaged frame states a larger size. */
enum { ZSTD_LEVEL = 1, KEY_BYTES = 64, MESSAGE_MAX = 256 * 1024 * 1024 };

/* One set for each thread, freed when the thread ends, because creating a context costs more than
 * compressing a mail. */
struct codec {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    struct buf scratch;
};
static tss_t codec_key;
static once_flag codec_once = ONCE_FLAG_INIT;

static void codec_free(void *p) {
    struct codec *c = p;
    ZSTD_freeCCtx(c->compressor);
    ZSTD_freeDCtx(c->decompressor);
    buf_free(&c->scratch);
    free(c);
}

static void codec_key_create(void) {
    if (tss_create(&codec_key, codec_free) != thrd_success) memory_exhausted();
}

static struct codec *codec_get(void) {
    call_once(&codec_once, codec_key_create);
    struct codec *c = tss_get(codec_key);
    if (c) return c;
    c = memory_alloc(sizeof *c);
    c->compressor = ZSTD_createCCtx();
    c->decompressor = ZSTD_createDCtx();
    if (!c->compressor || !c->decompressor || tss_set(codec_key, c) != thrd_success) memory_exhausted();
    return c;
}

void blob_pack(struct slice text, struct buf *out) {
    size_t room = ZSTD_compressBound(text.n);
    size_t n =
        ZSTD_compressCCtx(codec_get()->compressor, buf_reserve(out, room), room, text.p, text.n, ZSTD_LEVEL);
    if (ZSTD_isError(n))
        memory_exhausted(); /* the buffer has the size of the bound, so only an
                               allocation can fail */
    out->n += n;
}

int blob_unpack(struct slice frame, size_t size, struct buf *out) {
    size_t n = ZSTD_decompressDCtx(codec_get()->decompressor, buf_reserve(out, size), size, frame.p, frame.n);
    if (ZSTD_isError(n) || n != size) return STORE_INVALID;
    out->n += n;
    return 0;
}

static struct slice blob_key(char out[KEY_BYTES], struct slice id) {
    int n = snprintf(out, KEY_BYTES, "b:{%.*s}", SLICE_FMT(id));
    return slice_make(out, (size_t)n < KEY_BYTES ? (size_t)n : KEY_BYTES - 1);
}

/* FCALL function on the blob, with the references after the first arguments. */
static void call_with(struct redis *r, redis_reply_fn *fn, struct pending *p, const char *function, struct slice id,
                      size_t first_count, const struct slice first[], size_t ref_count, const struct slice refs[]) {
    char key[KEY_BYTES];
    struct slice *args = memory_alloc((first_count + ref_count + 1) * sizeof *args);
    if (first_count) memcpy(args, first, first_count * sizeof *args);
    if (ref_count) memcpy(args + first_count, refs, ref_count * sizeof *args);
    redis_fcall(r, fn, p, function, blob_key(key, id), first_count + ref_count, args);
    free(args);
}

void blob_write(struct redis *r, struct slice id, struct slice message, size_t ref_count, const struct slice refs[],
                blob_done_fn *done, void *ctx) {
    char size[DECIMAL_BYTES];
    struct codec *codec = codec_get();
    buf_reset(&codec->scratch);
    size_t room = ZSTD_compressBound(message.n);
    size_t n = ZSTD_compressCCtx(codec->compressor, buf_reserve(&codec->scratch, room), room, message.p, message.n,
                                 ZSTD_LEVEL);
    if (ZSTD_isError(n))
        memory_exhausted(); /* the buffer has the size of the bound, so only an
                               allocation can fail */
    struct slice first[] = {slice_make(codec->scratch.data, n), decimal(size, (long long)message.n)};
    cost_body_copy(n); /* compressed */
    cost_body_copy(n); /* and copied into the command */
    call_with(r, pending_on_done, PENDING(done, ctx), "blob_write", id, 2, first, ref_count, refs);
    buf_reset(&codec->scratch);
}

static void on_read(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    int error = redis_reply_error(reply);
    struct buf message = {0};
    if (!error &&
        (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING))
        error = STORE_NOT_FOUND;
    if (!error) {
        struct slice z = redis_reply_slice(reply->element[0]);
        long long size = redis_reply_integer(reply->element[1]);
        if (size < 0 || size > MESSAGE_MAX) {
            error = STORE_INVALID;
        } else {
            size_t n = ZSTD_decompressDCtx(codec_get()->decompressor, buf_reserve(&message, (size_t)size), (size_t)size,
                                           z.p, z.n);
            if (ZSTD_isError(n) || n != (size_t)size) error = STORE_INVALID;
            message.n = error ? 0 : n;
            cost_body_copy(z.n); /* copied from the reply */
            cost_body_copy(message.n);
        }
        if (error)
            log_error("a stored message is damaged", "reason", "its bytes do not decompress to their size", NULL);
    }
    ((blob_read_fn *)p.done)(p.ctx, error, buf_slice(&message));
    buf_free(&message);
}

void blob_read(struct redis *r, struct slice id, const char *ref, blob_read_fn *done, void *ctx) {
    char key[KEY_BYTES];
    if (ref) {
        struct slice arg = slice_of(ref);
        redis_fcall(r, on_read, PENDING(done, ctx), "blob_open", blob_key(key, id), 1, &arg);
    } else {
        struct slice command[] = {SLICE("HMGET"), blob_key(key, id), SLICE("z"), SLICE("n")};
        redis_command(r, on_read, PENDING(done, ctx), 4, command);
    }
}

void blob_hold(struct redis *r, struct slice id, const char *ref, blob_done_fn *done, void *ctx) {
    struct slice arg = slice_of(ref);
    call_with(r, pending_on_done, PENDING(done, ctx), "blob_hold", id, 0, NULL, 1, &arg);
}

void blob_release(struct redis *r, struct slice id, size_t ref_count, const struct slice refs[], blob_done_fn *done,
                  void *ctx) {
    call_with(r, pending_on_done, PENDING(done, ctx), "blob_release", id, 0, NULL, ref_count, refs);
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
    char key[KEY_BYTES];
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
