/* Reading, whole and by range: first the size and the layout, and the first block where it is
 * needed; then the other blocks, a few megabytes at a time. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/log.h"
#include "libcommon/base/metrics.h"
#include "libcommon/store/blob/blob_private.h"
#include "libcommon/store/cold/cold.h"

/* Blocks asked for at once (4 MB); attempts when a body is changed meanwhile. */
enum { STEP_BLOCKS = 64, TRIES = 4 };

static struct metric bytes_read =
    METRIC_COUNTER("postbus_store_body_bytes_read_total", "Bytes of bodies read from the store, compressed");
static struct metric bytes_opened =
    METRIC_COUNTER("postbus_store_body_bytes_decompressed_total", "Bytes of bodies read from the store, decompressed");

static struct metric missing = METRIC_COUNTER("postbus_store_cold_missing_total",
                                              "Reads of bodies whose segment is not in the cold tier: mail is lost");

struct reading {
    struct redis *redis;
    char *id;
    uint64_t offset, length; /* what was asked for */
    blob_read_fn *whole;     /* one of these two */
    blob_range_fn *range;
    void *ctx;
    struct block_layout layout;
    size_t next, end, asked; /* blocks: the next one, behind the last one, on their way */
    int tries;
    bool is_cold;
    struct cold_place place;
    struct buf index; /* the field i */
    uint32_t lengths[STEP_BLOCKS];
    struct buf out;
};

static void reading_end(struct reading *o, int error) {
    if (error == STORE_INVALID)
        log_error("a stored message is damaged", "id", o->id, "reason", "its bytes do not decompress to their size",
                  NULL);
    struct slice bytes = error ? SLICE("") : buf_slice(&o->out);
    if (o->whole)
        o->whole(o->ctx, error, bytes);
    else
        o->range(o->ctx, error, error ? 0 : o->layout.size, bytes);
    buf_free(&o->out);
    buf_free(&o->index);
    free(o->id);
    free(o);
}

/* The next byte that is wanted. */
static uint64_t position(const struct reading *o) { return o->offset + o->out.n; }

/* The part of block `next` that was asked for. */
static void add_part(struct reading *o, const char *block) {
    uint64_t start = block_start(&o->layout, o->next), end = start + block_size(&o->layout, o->next);
    uint64_t from = position(o), last = o->offset + o->length;
    if (last < end) end = last;
    if (end > from) buf_add(&o->out, block + (from - start), (size_t)(end - from));
    o->next++;
}

/* A frame that arrived, of block `next`. 0 or STORE_INVALID. */
static int take_frame(struct reading *o, struct slice frame) {
    uint64_t start = block_start(&o->layout, o->next);
    size_t size = block_size(&o->layout, o->next);
    metric_add(&bytes_read, (int64_t)frame.n);
    metric_add(&bytes_opened, (int64_t)size);
    if (position(o) == start && o->offset + o->length >= start + size) {
        if (block_decompress(frame, buf_reserve(&o->out, size), size) != 0) return STORE_INVALID;
        o->out.n += size;
        o->next++;
        return 0;
    }
    char *kept = block_keep(slice_of(o->id), start, size), *own = kept ? NULL : memory_alloc(size);
    int error = block_decompress(frame, kept ? kept : own, size) ? STORE_INVALID : 0;
    if (error)
        block_drop(slice_of(o->id), start, size);
    else
        add_part(o, kept ? kept : own);
    free(own);
    return error;
}

static void ask_layout(struct reading *o);
static void go_on(struct reading *o);

static void on_blocks(void *ctx, const redisReply *reply) {
    struct reading *o = ctx;
    int error = redis_reply_error(reply);
    if (!error && (reply->type != REDIS_REPLY_ARRAY || reply->elements != o->asked)) error = STORE_NOT_FOUND;
    for (size_t i = 0; !error && i < o->asked; i++) {
        struct slice frame = redis_reply_slice(reply->element[i]);
        if (reply->element[i]->type != REDIS_REPLY_STRING) { /* removed meanwhile */
            ask_layout(o);
            return;
        }
        error = take_frame(o, frame);
    }
    if (error)
        reading_end(o, error);
    else
        go_on(o);
}

static void on_cold(void *ctx, int error, struct slice bytes) {
    struct reading *o = ctx;
    if (error == STORE_NOT_FOUND) { /* it may have moved on; the last attempt reports it */
        if (o->tries == TRIES) {
            metric_add(&missing, 1);
            log_error("a body's segment is missing in the cold tier", "id", o->id, "segment", o->place.segment, NULL);
        }
        ask_layout(o);
        return;
    }
    for (size_t i = 0; !error && i < o->asked; i++) {
        struct slice frame = slice_head(bytes, o->lengths[i]);
        bytes = slice_skip(bytes, frame.n);
        error = frame.n == o->lengths[i] ? take_frame(o, frame) : STORE_INVALID;
    }
    if (error)
        reading_end(o, error);
    else
        go_on(o);
}

static void ask_cold(struct reading *o) {
    uint64_t offset, length;
    if (cold_index_span(buf_slice(&o->index), o->place.length, o->next, o->asked, &offset, &length, o->lengths) != 0 ||
        length > BLOB_MAX) {
        reading_end(o, STORE_INVALID);
        return;
    }
    cold_read(cold_of(o->redis), o->place.tier, o->place.segment, o->place.offset + offset, length, on_cold, o);
}

static const char *kept(const struct reading *o, size_t block) {
    return o->range ? block_kept(slice_of(o->id), block_start(&o->layout, block), block_size(&o->layout, block)) : NULL;
}

/* Asks for the blocks from `next` on that are not kept. */
static void go_on(struct reading *o) {
    char key[BLOB_KEY_BYTES], text[STEP_BLOCKS][BLOCK_FIELD_BYTES];
    struct slice command[STEP_BLOCKS + 2] = {SLICE("HMGET"), blob_key(key, slice_of(o->id))};
    const char *block;
    while (o->next < o->end && (block = kept(o, o->next))) add_part(o, block);
    if (o->next == o->end) {
        cost_body_copy(o->out.n);
        reading_end(o, 0);
        return;
    }
    o->asked = 0;
    while (o->asked < STEP_BLOCKS && o->next + o->asked < o->end && (!o->asked || !kept(o, o->next + o->asked))) {
        command[2 + o->asked] = block_field(o->next + o->asked, text[o->asked]);
        o->asked++;
    }
    if (o->is_cold)
        ask_cold(o);
    else
        redis_command(o->redis, on_blocks, o, 2 + o->asked, command);
}

static int take_place(struct reading *o, const redisReply *place, const redisReply *index) {
    o->is_cold = place->type == REDIS_REPLY_STRING;
    o->index.n = 0;
    if (!o->is_cold) return 0;
    buf_add_slice(&o->index, redis_reply_slice(index));
    return cold_place_read(redis_reply_slice(place), &o->place) == 0 ? 0 : STORE_INVALID;
}

/* n, s, c, i, and the first block where it may be needed. */
static void on_layout(void *ctx, const redisReply *reply) {
    struct reading *o = ctx;
    int error = redis_reply_error(reply);
    if (!error &&
        (reply->type != REDIS_REPLY_ARRAY || reply->elements < 4 || reply->element[0]->type != REDIS_REPLY_STRING))
        error = STORE_NOT_FOUND;
    if (!error &&
        block_layout_read(redis_reply_slice(reply->element[0]), redis_reply_slice(reply->element[1]), &o->layout) != 0)
        error = STORE_INVALID;
    if (!error) error = take_place(o, reply->element[2], reply->element[3]);
    if (error) {
        reading_end(o, error);
        return;
    }
    uint64_t size = o->layout.size, left = o->offset < size ? size - o->offset : 0;
    if (o->length > left) o->length = left;
    if (o->length == 0) {
        reading_end(o, 0);
        return;
    }
    if (o->out.n == o->length) {
        reading_end(o, 0);
        return;
    }
    o->next = block_at(&o->layout, position(o)); /* the layout may be another than before */
    o->end = 1 + block_at(&o->layout, o->offset + o->length - 1);
    buf_reserve(&o->out, (size_t)o->length - o->out.n);
    if (o->next == 0 && reply->elements > 4 && reply->element[4]->type == REDIS_REPLY_STRING)
        error = take_frame(o, redis_reply_slice(reply->element[4]));
    if (error)
        reading_end(o, error);
    else
        go_on(o);
}

static void ask_layout(struct reading *o) {
    char key[BLOB_KEY_BYTES];
    struct slice id = slice_of(o->id);
    /* the first block is asked for with the layout, unless it is not needed or it is kept */
    bool first = position(o) < BLOB_BLOCK;
    if (++o->tries > TRIES) {
        reading_end(o, STORE_UNAVAILABLE);
        return;
    }
    struct slice command[] = {SLICE("HMGET"), blob_key(key, id), SLICE("n"), SLICE("s"),
                              SLICE("c"),     SLICE("i"),        SLICE("z")};
    redis_command(o->redis, on_layout, o, first ? 7 : 6, command);
}

void blob_read(struct redis *r, struct slice id, const char *ref, blob_read_fn *done, void *ctx) {
    char key[BLOB_KEY_BYTES];
    struct reading *o = memory_alloc(sizeof *o);
    *o = (struct reading){.redis = r, .id = memory_copy(id), .length = BLOB_MAX, .whole = done, .ctx = ctx};
    if (ref) {
        struct slice arg = slice_of(ref);
        o->tries = 1;
        redis_fcall(r, on_layout, o, "blob_open", blob_key(key, id), 1, &arg);
    } else {
        ask_layout(o);
    }
}

void blob_read_range(struct redis *r, struct slice id, uint64_t offset, uint64_t length, blob_range_fn *done,
                     void *ctx) {
    struct reading *o = memory_alloc(sizeof *o);
    *o = (struct reading){.redis = r,
                          .id = memory_copy(id),
                          .offset = offset,
                          .length = length < BLOB_MAX ? length : BLOB_MAX,
                          .range = done,
                          .ctx = ctx};
    ask_layout(o);
}
