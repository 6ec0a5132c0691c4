/* A batch of bodies: read, written as one segment, committed. */
#include <endian.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob/block.h"
#include "services/mailbox/mover.h"

static struct metric moved = METRIC_COUNTER("postbus_mailbox_moved_total", "Bodies moved to the cold tier");
static struct metric moved_bytes =
    METRIC_COUNTER("postbus_mailbox_moved_bytes_total", "Their bytes in the cold tier, compressed");
static struct metric segments = METRIC_COUNTER("postbus_mailbox_segments_total", "Segments written to the cold tier");
static struct metric refused =
    METRIC_COUNTER("postbus_mailbox_move_failures_total", "Batches that could not be moved; they are tried again");

bool batch_add(struct mover *v, const char *id, struct slice place, uint64_t size) {
    if (!v->batch) {
        v->batch = memory_alloc(sizeof *v->batch);
        v->batch->mover = v;
    }
    struct batch *b = v->batch;
    for (size_t i = 0; i < b->count; i++)
        if (memcmp(b->items[i].id, id, ULID_LENGTH) == 0) return false; /* a scan may name one twice */
    struct batch_item *item = &b->items[b->count++];
    item->batch = b;
    item->size = size;
    memcpy(item->id, id, ULID_LENGTH);
    if (place.n < COLD_PLACE_BYTES && place.n) memcpy(item->place, place.p, place.n);
    b->bytes += size;
    return b->count == BATCH_BODIES || b->bytes >= BATCH_BYTES;
}

static void batch_end(struct batch *b) {
    struct mover *v = b->mover;
    if (b->error) {
        metric_add(&refused, 1);
        log_warn("bodies could not be moved to the cold tier; trying again", "segment", b->segment, "reason",
                 store_error_text(b->error), NULL);
    }
    v->moved_in_walk += (int64_t)b->moved;
    int error = b->error;
    for (size_t i = 0; i < b->count; i++) {
        buf_free(&b->items[i].message);
        buf_free(&b->items[i].frames);
        buf_free(&b->items[i].index);
    }
    buf_free(&b->bytes_out);
    free(b);
    v->batch = NULL;
    if (error)
        mover_wait(v, 1000);
    else
        v->then(v);
}

/* 4. Committed */

static void on_committed(void *ctx, int error) {
    struct batch_item *item = ctx;
    struct batch *b = item->batch;
    if (!error) {
        b->moved++;
        metric_add(&moved, 1);
        metric_add(&moved_bytes, (int64_t)item->frames.n);
    } else if (error != STORE_NOT_FOUND && error != STORE_CONFLICT) {
        b->error = error;
    }
    if (--b->waiting == 0) batch_end(b);
}

static void stop(struct batch *b, int error) {
    b->error = error;
    batch_end(b);
}

static void on_noted(void *ctx, int error) {
    struct batch *b = ctx;
    struct mover *v = b->mover;
    if (error) {
        stop(b, error);
        return;
    }
    metric_add(&segments, 1);
    size_t at = 0;
    b->waiting = 1;
    for (size_t i = 0; i < b->count; i++) {
        struct batch_item *item = &b->items[i];
        char text[COLD_PLACE_BYTES];
        if (item->failed) continue;
        struct cold_place place = {
            .tier = cold_target(v->cold), .offset = b->entries[at].offset, .length = b->entries[at].length};
        memcpy(place.segment, b->segment, ULID_BYTES);
        at++;
        b->waiting++;
        blob_moved(v->redis, slice_of(item->id), slice_of(item->place), cold_place_write(&place, text), item->size,
                   buf_slice(&item->index), on_committed, item);
    }
    if (--b->waiting == 0) batch_end(b);
}

static void on_written(void *ctx, int error) {
    struct batch *b = ctx;
    struct mover *v = b->mover;
    if (error)
        stop(b, error);
    else
        cold_segment_enter(v->redis, cold_target(v->cold), b->segment, clock_wall_ms(), true, on_noted, b);
}

static void on_entered(void *ctx, int error) {
    struct batch *b = ctx;
    struct mover *v = b->mover;
    if (error)
        stop(b, error);
    else
        cold_write(v->cold, cold_target(v->cold), b->segment, buf_slice(&b->bytes_out), on_written, b);
}

/* 2. The segment's bytes, made on a thread */

static void build(void *job) {
    struct batch *b = job;
    size_t count = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct batch_item *item = &b->items[i];
        if (item->failed) continue;
        struct block_layout layout = block_layout_of(item->size);
        size_t blocks = block_count(&layout), before = 0;
        for (size_t k = 0; k < blocks; k++) {
            block_compress(
                slice_head(slice_skip(buf_slice(&item->message), block_start(&layout, k)), block_size(&layout, k)),
                &item->frames);
            uint32_t n = htole32((uint32_t)(item->frames.n - before));
            before = item->frames.n;
            if (blocks > 1) buf_add(&item->index, &n, sizeof n);
        }
        buf_free(&item->message);
        memcpy(b->entries[count].id, item->id, ULID_BYTES);
        b->entries[count++].length = item->frames.n;
    }
    segment_head_write(&b->bytes_out, count, b->entries);
    for (size_t i = 0; i < b->count; i++)
        if (!b->items[i].failed) buf_add_slice(&b->bytes_out, buf_slice(&b->items[i].frames));
}

static void on_built(void *job) {
    struct batch *b = job;
    struct mover *v = b->mover;
    ulid_create(b->segment);
    cold_segment_enter(v->redis, cold_target(v->cold), b->segment, clock_wall_ms(), false, on_entered, b);
}

/* 1. Read */

static void on_read(void *ctx, int error, struct slice message) {
    struct batch_item *item = ctx;
    struct batch *b = item->batch;
    if (!error && message.n == item->size)
        buf_add_slice(&item->message, message);
    else
        item->failed = true; /* removed meanwhile, or damaged, which blob_read has reported */
    if (error == STORE_UNAVAILABLE) b->error = error;
    if (--b->waiting) return;
    size_t left = 0;
    for (size_t i = 0; i < b->count; i++) left += !b->items[i].failed;
    if (b->error || left == 0)
        batch_end(b);
    else
        cold_run(b->mover->cold, build, on_built, b);
}

void batch_move(struct mover *v, void (*then)(struct mover *v)) {
    struct batch *b = v->batch;
    v->then = then;
    if (!b) {
        then(v);
        return;
    }
    b->waiting = b->count;
    for (size_t i = 0; i < b->count; i++) blob_read(v->redis, slice_of(b->items[i].id), NULL, on_read, &b->items[i]);
}
