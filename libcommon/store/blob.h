/* The bodies: b:{<id>}, a message's whole bytes under its id, zstd-compressed, written once, read once per use, and
 * gone when the last reference to it is. References are names: "q" (the queue holds it), "u:<user id>" (a mailbox holds
 * it). Adding or dropping one twice changes nothing. */
#ifndef POSTBUS_STORE_BLOB_H
#define POSTBUS_STORE_BLOB_H

#include "libcommon/base/buf.h"
#include "libcommon/store/redis.h"

/* error: 0 or enum store_error. message: the whole message, valid during the call. */
typedef void blob_read_fn(void *ctx, int error, struct slice message);
typedef void blob_done_fn(void *ctx, int error);

/* Compresses and writes the message under id with its first reference. done may be NULL: a later command on the same
 * connection is answered after this one, and both are on disk by then. Only a second write of the same id fails
 * silently (the first bytes stay). */
void blob_write(struct redis *r, struct slice id, struct slice message, const char *ref, blob_done_fn *done, void *ctx);
/* Reads the message; with ref not NULL also adds that reference, in the same step. STORE_NOT_FOUND when it is gone. */
void blob_read(struct redis *r, struct slice id, const char *ref, blob_read_fn *done, void *ctx);
/* Drops a reference; the last one takes the blob with it. done may be NULL. */
void blob_release(struct redis *r, struct slice id, const char *ref, blob_done_fn *done, void *ctx);

#endif
