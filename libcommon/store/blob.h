/* The bodies: b:{<id>}, the whole message under its id, written once, read whole or by range, and
 * removed when the last reference is released.
 *
 * A body is kept in blocks of BLOB_BLOCK bytes, each a zstd frame of its own with a checksum, so
 * that a range costs only the blocks that it touches. (A body that was written before there were
 * blocks is one frame, and is read whole.)
 *
 * A reference is a name that identifies a holder of the body. Each holder has a different name, so
 * that a release never removes the body of another holder:
 *   q                            the queue
 *   u:<user>/<rcpt>/<attempt>    a mailbox: `attempt` names the delivery attempt, so that two
 *                                attempts never share a reference (mailbox_blob_ref)
 *   u:<user>/import/<attempt>    a mailbox, for an import
 *   u:<user>//                   a mailbox, for an APPEND
 * Adding or releasing one twice changes nothing. */
#ifndef POSTBUS_STORE_BLOB_H
#define POSTBUS_STORE_BLOB_H

#include "libcommon/base/buf.h"
#include "libcommon/store/redis.h"

#define BLOB_REF_QUEUE "q"
enum { BLOB_BLOCK = 64 * 1024, BLOB_MAX = 256 * 1024 * 1024 };

/* error: 0 or enum store_error. message: the whole message, valid during the call. */
typedef void blob_read_fn(void *ctx, int error, struct slice message);
typedef void blob_done_fn(void *ctx, int error);

/* Compresses and writes the message under id with its first references (at least one, at most
 * 1,000), all in one step. A client must not be told that the message is stored before done(0). The
 * second write of one id keeps the first bytes and adds the references. */
void blob_write(struct redis *r, struct slice id, struct slice message, size_t ref_count, const struct slice refs[],
                blob_done_fn *done, void *ctx);

/* A message that is written while it arrives. The id must be new: made for this writer.
 *
 * The caller adds bytes as they come, and should stop its source while blob_writer_waiting() is
 * above BLOB_WRITER_BYTES_MAX; room() then tells when it has fallen to half of that. The message
 * exists only after blob_writer_finish(), in one step with its references; its first bytes, `head`,
 * may be given there, because header fields that are put in front of a message are often known
 * last. What a writer that died has written is removed by the janitor. */
enum { BLOB_WRITER_BYTES_MAX = 1024 * 1024 };
struct blob_writer;
struct blob_writer *blob_writer_create(struct redis *r, struct slice id, void (*room)(void *ctx), void *ctx);
void blob_writer_add(struct blob_writer *w, struct slice bytes);
/* Bytes that were added and are not in the store yet. */
size_t blob_writer_waiting(const struct blob_writer *w);
/* 0, or the error of a write that failed; then it is useless to add more. */
int blob_writer_error(const struct blob_writer *w);
/* The message is head, which may be empty, and then all bytes added. references: as for blob_write.
 * done is called when every write has been answered; the writer is freed then. The store's error is
 * the first of all writes; STORE_FULL when the message is longer than BLOB_MAX. */
void blob_writer_finish(struct blob_writer *w, struct slice head, size_t ref_count, const struct slice refs[],
                        blob_done_fn *done, void *ctx);
/* Gives up: nothing is called any more, and the blocks are removed. Not after finish. NULL is
 * allowed. */
void blob_writer_cancel(struct blob_writer *w);

/* Reads the message; with ref not NULL also adds that reference, in the same step. STORE_NOT_FOUND
 * when it no longer exists; STORE_INVALID when it is damaged. */
void blob_read(struct redis *r, struct slice id, const char *ref, blob_read_fn *done, void *ctx);

/* Reads up to `length` bytes from `offset`; fewer at the end of the message, none behind it. size:
 * the whole message's. Only the blocks that the range touches are read and decompressed, and the
 * last few blocks of which a range took a part are kept for the next one, so that reading in pieces
 * reads each block once. */
typedef void blob_range_fn(void *ctx, int error, uint64_t size, struct slice bytes);
void blob_read_range(struct redis *r, struct slice id, uint64_t offset, uint64_t length, blob_range_fn *done,
                     void *ctx);

/* Adds a reference without reading, also when Redis is at its maxmemory. STORE_NOT_FOUND when the
 * body no longer exists. */
void blob_hold(struct redis *r, struct slice id, const char *ref, blob_done_fn *done, void *ctx);
/* Releases references (at most 1,000); the blob is removed with the last one. Works also when Redis
 * is at its maxmemory. The janitor finds references whose release was lost. done may be NULL. */
void blob_release(struct redis *r, struct slice id, size_t ref_count, const struct slice refs[], blob_done_fn *done,
                  void *ctx);

/* For the janitor. The names of all references of a blob, none for one that is being written.
 * STORE_NOT_FOUND. */
typedef void blob_refs_fn(void *ctx, int error, size_t count, const struct slice refs[]);
void blob_refs(struct redis *r, struct slice id, blob_refs_fn *done, void *ctx);
/* Removes a blob without references, and blocks whose writer has not written since before_ms. */
void blob_forget(struct redis *r, struct slice id, int64_t before_ms, blob_done_fn *done, void *ctx);
/* A page of the ids of all blobs: cursor 0 begins; next 0: the last page. An id may occur twice. */
typedef void blob_scan_fn(void *ctx, int error, uint64_t next, size_t count, const struct slice ids[]);
void blob_scan(struct redis *r, uint64_t cursor, blob_scan_fn *done, void *ctx);

#endif
