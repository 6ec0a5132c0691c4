/* The mover's access to bodies, to the list of segments, and to the memory of Redis. Only the
 * mailbox service uses it. */
#ifndef POSTBUS_STORE_BLOB_MOVER_H
#define POSTBUS_STORE_BLOB_MOVER_H

#include "libcommon/store/blob.h"
#include "libcommon/store/cold/cold.h"

/* Where a body is: place is empty for one in Redis. STORE_NOT_FOUND: there is none, or it is being
 * written. */
typedef void blob_where_fn(void *ctx, int error, uint64_t size, struct slice place);
void blob_where(struct redis *r, struct slice id, blob_where_fn *done, void *ctx);

/* The body is on disk at `place`, in blocks of BLOB_BLOCK bytes whose lengths are index (empty for
 * one block): from now on it is read there. before: where it was. STORE_NOT_FOUND: it was removed,
 * STORE_CONFLICT: moved meanwhile; then nothing has changed. */
void blob_moved(struct redis *r, struct slice id, struct slice before, struct slice place, uint64_t size,
                struct slice index, blob_done_fn *done, void *ctx);

/* Ids of large bodies that were written before this time, at most max, the first ones first. */
typedef void blob_list_fn(void *ctx, int error, size_t count, const struct slice items[]);
void blob_large(struct redis *r, int64_t before_ms, int max, blob_list_fn *done, void *ctx);
void blob_large_forget(struct redis *r, size_t count, const struct slice ids[], blob_done_fn *done, void *ctx);

/* The list of segments. One is entered before it is written, and again with written = true when it
 * is on disk; it is taken out after it was removed. Works also when Redis is at its maxmemory. */
void cold_segment_enter(struct redis *r, enum cold_tier tier, const char *segment, int64_t now_ms, bool written,
                        blob_done_fn *done, void *ctx);
void cold_segment_leave(struct redis *r, enum cold_tier tier, const char *segment, blob_done_fn *done, void *ctx);
/* At most `max` of those that were entered before this time, from the number `first` on, each as
 * "<tier> <segment>". written false: those that were never written, so that no body is in them. */
void cold_segments(struct redis *r, bool written, int64_t before_ms, size_t first, int max, blob_list_fn *done,
                   void *ctx);

/* Bytes that Redis uses, and its maxmemory (0: none; 1: nothing may grow). */
typedef void store_memory_fn(void *ctx, int error, int64_t used, int64_t most);
void store_memory(struct redis *r, store_memory_fn *done, void *ctx);

#endif
