/* Private to libcommon/store/blob. */
#ifndef POSTBUS_STORE_BLOB_PRIVATE_H
#define POSTBUS_STORE_BLOB_PRIVATE_H

#include "libcommon/store/blob/block.h"
#include "libcommon/store/pending.h"

enum { BLOB_KEY_BYTES = 64 };
struct slice blob_key(char out[BLOB_KEY_BYTES], struct slice id);
/* FCALL function on the blob, with the references after the first arguments. */
void blob_call(struct redis *r, redis_reply_fn *fn, void *ctx, const char *function, struct slice id,
               size_t first_count, const struct slice first[], size_t ref_count, const struct slice refs[]);

#endif
