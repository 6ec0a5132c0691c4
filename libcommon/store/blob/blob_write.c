/* Bodies written in one step, and bodies written while they arrive. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/cost.h"
#include "libcommon/store/blob/blob_private.h"
#include "libcommon/store/cold/cold.h"

/* A large body is entered in the list of those that are moved soonest. Nothing depends on it: the
 * mover finds every body in the end. */
static void note_large(struct redis *r, struct slice id, uint64_t size) {
    char now[DECIMAL_BYTES];
    if (size < COLD_LARGE_BYTES || !cold_target(cold_of(r))) return;
    struct slice command[] = {SLICE("ZADD"), SLICE(COLD_KEY_LARGE), decimal(now, clock_wall_ms()), id};
    redis_command(r, NULL, NULL, 4, command);
}

void blob_write(struct redis *r, struct slice id, struct slice message, size_t ref_count, const struct slice refs[],
                blob_done_fn *done, void *ctx) {
    char size[DECIMAL_BYTES], layout_text[BLOCK_LAYOUT_BYTES], count_text[DECIMAL_BYTES];
    struct block_layout layout = block_layout_of(message.n);
    size_t count = block_count(&layout);
    struct slice *first = memory_alloc((count + 3) * sizeof *first);
    size_t *ends = memory_alloc(count * sizeof *ends);
    struct buf frames = {0};
    for (size_t i = 0; i < count; i++) {
        block_compress(slice_head(slice_skip(message, block_start(&layout, i)), block_size(&layout, i)), &frames);
        ends[i] = frames.n;
    }
    first[0] = decimal(size, (long long)message.n);
    first[1] = block_layout_write(&layout, layout_text);
    first[2] = decimal(count_text, (long long)count);
    for (size_t i = 0, at = 0; i < count; at = ends[i++]) first[3 + i] = slice_make(frames.data + at, ends[i] - at);
    cost_body_copy(frames.n); /* compressed */
    cost_body_copy(frames.n); /* and copied into the command */
    blob_call(r, pending_on_done, PENDING(done, ctx), "blob_write", id, count + 3, first, ref_count, refs);
    note_large(r, id, message.n);
    free(first);
    free(ends);
    buf_free(&frames);
}

/* The writer. Block 0 is the head, which is written by the last step; the others are sent when they
 * are full. */
struct blob_writer {
    struct redis *redis;
    char *id;
    struct buf block;               /* the bytes of the block that is being filled */
    uint64_t added;                 /* bytes, of all blocks but the head */
    size_t blocks, sent, in_flight; /* blocks: sent so far; sent: bytes without an answer */
    int error;
    bool cancelled, told; /* told: the caller was told of room since it was last short */
    void (*room)(void *ctx);
    void *room_ctx;
    /* of blob_writer_finish */
    blob_done_fn *done;
    void *ctx;
    struct buf head;
    size_t ref_count;
    struct slice *refs;
};

struct part {
    struct blob_writer *writer;
    size_t size;
};

struct blob_writer *blob_writer_create(struct redis *r, struct slice id, void (*room)(void *ctx), void *ctx) {
    struct blob_writer *w = memory_alloc(sizeof *w);
    *w = (struct blob_writer){.redis = r, .id = memory_copy(id), .told = true, .room = room, .room_ctx = ctx};
    return w;
}

static void writer_free(struct blob_writer *w) {
    for (size_t i = 0; i < w->ref_count; i++) free((char *)w->refs[i].p);
    free(w->refs);
    buf_free(&w->head);
    buf_free(&w->block);
    free(w->id);
    free(w);
}

size_t blob_writer_waiting(const struct blob_writer *w) { return w->block.n + w->sent; }

int blob_writer_error(const struct blob_writer *w) { return w->error; }

static void on_finished(void *ctx, const redisReply *reply) {
    struct blob_writer *w = ctx;
    int error = redis_reply_error(reply);
    if (error == STORE_NOT_FOUND) error = STORE_UNAVAILABLE; /* a block was lost: write it again */
    blob_done_fn *done = w->done;
    void *done_ctx = w->ctx;
    writer_free(w);
    done(done_ctx, error);
}

static void commit(struct blob_writer *w) {
    char size[DECIMAL_BYTES], text[BLOCK_LAYOUT_BYTES];
    struct block_layout layout = {w->head.n + w->added, w->head.n, BLOB_BLOCK};
    struct buf frame = {0};
    block_compress(buf_slice(&w->head), &frame);
    struct slice first[] = {decimal(size, (long long)layout.size), SLICE("65536"), buf_slice(&frame)};
    _Static_assert(BLOB_BLOCK == 65536, "the text above");
    if (layout.first != layout.each) first[1] = block_layout_write(&layout, text);
    blob_call(w->redis, on_finished, w, "blob_finish", slice_of(w->id), 3, first, w->ref_count, w->refs);
    note_large(w->redis, slice_of(w->id), layout.size);
    buf_free(&frame);
}

static void failed(struct blob_writer *w) {
    /* If this is lost, the janitor removes what was written. */
    blob_forget(w->redis, slice_of(w->id), INT64_MAX, NULL, NULL);
    if (w->done) w->done(w->ctx, w->error);
    writer_free(w);
}

/* All blocks have been answered, and no more will come. */
static void go_on(struct blob_writer *w) {
    if (w->in_flight || (!w->cancelled && !w->done)) return;
    if (w->cancelled || w->error)
        failed(w);
    else
        commit(w);
}

static void on_put(void *ctx, const redisReply *reply) {
    struct part *p = ctx;
    struct blob_writer *w = p->writer;
    int error = redis_reply_error(reply);
    w->sent -= p->size;
    w->in_flight--;
    free(p);
    if (error && !w->error) w->error = error;
    if (!w->cancelled && !w->done && !w->told && blob_writer_waiting(w) <= BLOB_WRITER_BYTES_MAX / 2) {
        w->told = true;
        if (w->room) w->room(w->room_ctx); /* may add, finish or cancel */
        return;
    }
    go_on(w);
}

/* Sends what the block has. */
static void put(struct blob_writer *w) {
    char now[DECIMAL_BYTES], number[DECIMAL_BYTES];
    if (w->added > BLOB_MAX && !w->error) w->error = STORE_FULL;
    if (w->block.n && !w->error) {
        struct buf frame = {0};
        struct part *p = memory_alloc(sizeof *p);
        *p = (struct part){w, w->block.n};
        block_compress(buf_slice(&w->block), &frame);
        struct slice args[] = {decimal(now, clock_wall_ms()), decimal(number, (long long)++w->blocks),
                               buf_slice(&frame)};
        w->sent += w->block.n;
        w->in_flight++;
        blob_call(w->redis, on_put, p, "blob_put", slice_of(w->id), 3, args, 0, NULL);
        cost_body_copy(frame.n);
        buf_free(&frame);
    }
    w->block.n = 0;
}

void blob_writer_add(struct blob_writer *w, struct slice bytes) {
    while (bytes.n) {
        struct slice some = slice_head(bytes, BLOB_BLOCK - w->block.n);
        buf_add_slice(&w->block, some);
        w->added += some.n;
        bytes = slice_skip(bytes, some.n);
        if (w->block.n == BLOB_BLOCK) put(w);
    }
    if (blob_writer_waiting(w) > BLOB_WRITER_BYTES_MAX) w->told = false;
}

void blob_writer_finish(struct blob_writer *w, struct slice head, size_t ref_count, const struct slice refs[],
                        blob_done_fn *done, void *ctx) {
    put(w);
    if (w->added + head.n > BLOB_MAX && !w->error) w->error = STORE_FULL;
    buf_add_slice(&w->head, head);
    w->ref_count = ref_count;
    w->refs = memory_alloc(ref_count * sizeof *w->refs);
    for (size_t i = 0; i < ref_count; i++) w->refs[i] = slice_make(memory_copy(refs[i]), refs[i].n);
    w->done = done;
    w->ctx = ctx;
    if (w->in_flight == 0 && w->error) { /* done is never called before this returns */
        struct part *p = memory_alloc(sizeof *p);
        *p = (struct part){w, 0};
        w->in_flight++;
        struct slice command[] = {SLICE("PING")};
        redis_command(w->redis, on_put, p, 1, command);
        return;
    }
    go_on(w);
}

void blob_writer_cancel(struct blob_writer *w) {
    if (!w) return;
    w->cancelled = true;
    go_on(w);
}
