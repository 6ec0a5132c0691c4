/* The bodies: b:{<id>}, the whole message under its id, compressed with zstd, written once, read
 * once per use, and removed when the last reference is released.
 *
 * A reference is a name that identifies a holder of the body. Each holder has a different name, so
 * that a release never removes the body of another holder:
 *   q                            the queue
 *   u:<user>/<rcpt>/<attempt>    a mailbox: `attempt` names the delivery attempt, so that two
 *                                attempts never share a reference (mailbox_blob_ref)
 *   u:<user>//                   a mailbox, for an APPEND
 * Adding or releasing one twice changes nothing. */
#ifndef POSTBUS_STORE_BLOB_H
#define POSTBUS_STORE_BLOB_H

#include "libcommon/base/buf.h"
#include "libcommon/store/redis.h"

#define BLOB_REF_QUEUE "q"

/* error: 0 or enum store_error. message: the whole message, valid during the call. */
typedef void blob_read_fn(void *ctx, int error, struct slice message);
typedef void blob_done_fn(void *ctx, int error);

/* Compresses and writes the message under id with its first references (at least one, at most
 * 1,000), all in one step. A client must not be told that the message is stored before done(0). The
 * second write of one id keeps the first bytes and adds the references. */
void blob_write(struct redis *r, struct slice id, struct slice message, size_t ref_count, const struct slice refs[],
                blob_done_fn *done, void *ctx);
/* Reads the message; with ref not NULL also adds that reference, in the same step. STORE_NOT_FOUND
 * when it no longer exists. */
void blob_read(struct redis *r, struct slice id, const char *ref, blob_read_fn *done, void *ctx);
/* Adds a reference without reading, also when Redis is at its maxmemory. STORE_NOT_FOUND when the
 * body no longer exists. */
void blob_hold(struct redis *r, struct slice id, const char *ref, blob_done_fn *done, void *ctx);
/* Releases references (at most 1,000); the blob is removed with the last one. Works also when Redis
 * is at its maxmemory. The janitor finds references whose release was lost. done may be NULL. */
void blob_release(struct redis *r, struct slice id, size_t ref_count, const struct slice refs[], blob_done_fn *done,
                  void *ctx);
/* The names of all references of a blob: for the janitor. STORE_NOT_FOUND. */
typedef void blob_refs_fn(void *ctx, int error, size_t count, const struct slice refs[]);
void blob_refs(struct redis *r, struct slice id, blob_refs_fn *done, void *ctx);
/* A page of the ids of all blobs: cursor 0 begins; next 0: the last page. An id may occur twice. */
typedef void blob_scan_fn(void *ctx, int error, uint64_t next, size_t count, const struct slice ids[]);
void blob_scan(struct redis *r, uint64_t cursor, blob_scan_fn *done, void *ctx);

#endif
