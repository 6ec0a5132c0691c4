/* The mover puts bodies from Redis into the cold tier (libcommon/store/cold), and gives back the
 * room of bodies that were deleted there.
 *
 * One replica works at a time, by a lease; two at once would do no harm. It moves
 *   large bodies (256 KB)   when they are older than POSTBUS_COLD_LARGE_AFTER
 *   all others              when they are older than POSTBUS_COLD_AFTER
 *   more than that          while Redis uses more than POSTBUS_HOT_PERCENT of its maxmemory: large
 *                           ones first, then the older ones
 * It finds the large ones in a list, the others by a walk over all bodies, at least every
 * POSTBUS_COLD_EVERY.
 *
 * Bodies are moved in batches; each makes one segment. The steps, each answered before the next:
 *   1. the bodies are read, which verifies their checksums; a damaged one stays where it is
 *   2. the segment is entered in the list of segments
 *   3. it is written: file, folder and root are on disk (fsync), and the list says so
 *   4. each body's record says where it is, and its blocks are removed from Redis, in one step
 * Killed before 4, no body is in the segment, and the sweep removes it. A reader that has the old
 * place asks again.
 *
 * The sweep, every POSTBUS_COLD_SWEEP, asks of each segment older than the grace period which of
 * its bodies are still there: one without any is removed; of one that is less than half in use, the
 * rest is moved to a new segment. */
#ifndef POSTBUS_MAILBOX_MOVER_H
#define POSTBUS_MAILBOX_MOVER_H

#include "libcommon/store/blob/blob_mover.h"
#include "services/mailbox/mailbox_service.h"

/* A batch ends with the body that reaches BATCH_BYTES, so the mover's memory is that and one body,
 * twice: as it is, and compressed. */
enum { BATCH_BYTES = 8 * 1024 * 1024, BATCH_BODIES = SEGMENT_BODIES_MAX, LARGE_PAGE = 64 };

struct batch_item {
    struct batch *batch;
    char id[ULID_BYTES], place[COLD_PLACE_BYTES]; /* where it is; empty: in Redis */
    uint64_t size;
    bool failed;
    struct buf message, frames, index;
};

struct batch {
    struct mover *mover;
    size_t count, waiting, moved;
    uint64_t bytes; /* of the messages */
    int error;
    char segment[ULID_BYTES];
    struct buf bytes_out; /* the segment */
    struct segment_entry entries[BATCH_BODIES];
    struct batch_item items[BATCH_BODIES];
};

/* One segment that is looked at by the sweep. */
struct sweep {
    size_t next; /* its number in the list */
    bool running;
    int64_t next_ms; /* when the next sweep begins */
    enum cold_tier tier;
    char segment[ULID_BYTES];
    int count;
    size_t waiting, kept;
    uint64_t live, all; /* bytes */
    struct segment_entry entries[SEGMENT_BODIES_MAX];
    uint64_t sizes[SEGMENT_BODIES_MAX]; /* of the bodies that are still there; UINT64_MAX: not there */
};

struct mover_page_item {
    struct mover *mover;
    char id[ULID_BYTES];
};

struct mover {
    struct mailbox_worker *m;
    struct redis *redis;
    struct cold *cold;
    struct event *timer;
    char token[ULID_BYTES];
    bool leading, stopping, busy, orphan, pressed;
    /* settings */
    int64_t after_ms, large_after_ms, every_ms, sweep_ms, grace_ms;
    int hot_percent;
    /* the walk */
    uint64_t cursor;
    bool walking;
    int pass; /* under pressure: each walk takes younger bodies */
    int64_t next_walk_ms, moved_in_walk;
    int64_t hot_bytes, cold_bytes; /* counted by this walk */
    size_t waiting;
    struct mover_page_item *page;
    struct batch *batch; /* being filled, or under way */
    struct sweep sweep;
    void (*then)(struct mover *v); /* after the batch */
};

/* NULL when there is no cold tier, or on all workers but the first. */
struct mover *mover_create(struct mailbox_worker *m);
void mover_drain(struct mover *v); /* NULL is allowed; a batch under way counts as a request */
void mover_stop(struct mover *v);

/* Private to the mover. Adds a body to the batch; true: the batch is full, so that it must be moved
 * before more are added. */
bool batch_add(struct mover *v, const char *id, struct slice place, uint64_t size);
/* Moves what the batch has, then calls then(). */
void batch_move(struct mover *v, void (*then)(struct mover *v));
/* Looks at the next segment; ends with mover_wait. */
void sweep_step(struct mover *v);
/* The step is done; the next one begins after this time. */
void mover_wait(struct mover *v, int64_t ms);
/* Frees a mover that is not at work. */
void mover_free(struct mover *v);
/* When a message was received, by its id. */
int64_t mover_time_of(const char *id);

#endif
