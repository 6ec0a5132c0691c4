#include "libcommon/store/blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <threads.h>
#include <zstd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"

/* Level 1 takes about 20 µs for a 4 KB mail and halves it. A message is never larger than MESSAGE_MAX, whatever a
 * damaged frame claims. */
enum { ZSTD_LEVEL = 1, KEY_BYTES = 64, MESSAGE_MAX = 256 * 1024 * 1024 };

/* One set a thread, freed when the thread ends: building a context costs more than compressing a mail. */
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

struct waiting {
    blob_read_fn *read;
    blob_done_fn *done;
    void *ctx;
};

static struct slice blob_key(char out[KEY_BYTES], struct slice id) {
    int n = snprintf(out, KEY_BYTES, "b:{%.*s}", SLICE_FMT(id));
    return slice_make(out, (size_t)n < KEY_BYTES ? (size_t)n : KEY_BYTES - 1);
}

static struct waiting *waiting_create(blob_read_fn *read, blob_done_fn *done, void *ctx) {
    if (!read && !done) return NULL;
    struct waiting *w = memory_alloc(sizeof *w);
    *w = (struct waiting){read, done, ctx};
    return w;
}

static void on_done(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    if (!w) return;
    w->done(w->ctx, error);
    free(w);
}

void blob_write(struct redis *r, struct slice id, struct slice message, const char *ref, blob_done_fn *done,
                void *ctx) {
    char key[KEY_BYTES], size[24];
    struct codec *codec = codec_get();
    buf_reset(&codec->scratch);
    size_t room = ZSTD_compressBound(message.n);
    size_t n = ZSTD_compressCCtx(codec->compressor, buf_reserve(&codec->scratch, room), room, message.p, message.n,
                                 ZSTD_LEVEL);
    if (ZSTD_isError(n)) memory_exhausted(); /* with room for the bound, only memory can be missing */
    int size_n = snprintf(size, sizeof size, "%zu", message.n);
    struct slice args[] = {slice_make(codec->scratch.data, n), slice_make(size, (size_t)size_n), slice_of(ref)};
    redis_fcall(r, on_done, waiting_create(NULL, done, ctx), "blob_write", blob_key(key, id), 3, args);
    buf_reset(&codec->scratch);
}

static void on_read(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
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
        }
        if (error)
            log_error("a stored message is damaged", "reason", "its bytes do not decompress to their size", NULL);
    }
    w->read(w->ctx, error, buf_slice(&message));
    buf_free(&message);
    free(w);
}

void blob_read(struct redis *r, struct slice id, const char *ref, blob_read_fn *done, void *ctx) {
    char key[KEY_BYTES];
    struct waiting *w = waiting_create(done, NULL, ctx);
    if (ref) {
        struct slice arg = slice_of(ref);
        redis_fcall(r, on_read, w, "blob_open", blob_key(key, id), 1, &arg);
    } else {
        struct slice command[] = {SLICE("HMGET"), blob_key(key, id), SLICE("z"), SLICE("n")};
        redis_command(r, on_read, w, 4, command);
    }
}

void blob_release(struct redis *r, struct slice id, const char *ref, blob_done_fn *done, void *ctx) {
    char key[KEY_BYTES];
    struct slice arg = slice_of(ref);
    redis_fcall(r, on_done, waiting_create(NULL, done, ctx), "blob_release", blob_key(key, id), 1, &arg);
}
