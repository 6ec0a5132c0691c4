/* The blocks of a body: how a message is divided, and each block's compression. Pure, apart from
 * zstd contexts, of which each thread has its own. Private to libcommon/store. */
#ifndef POSTBUS_STORE_BLOCK_H
#define POSTBUS_STORE_BLOCK_H

#include "libcommon/base/buf.h"
#include "libcommon/store/blob.h"

/* Block 0 has `first` bytes, all others `each`, the last one fewer. */
struct block_layout {
    uint64_t size, first, each;
};
enum { BLOCK_LAYOUT_BYTES = 48, BLOCK_FIELD_BYTES = 16 };

/* The layout of a message that is written at once. */
struct block_layout block_layout_of(uint64_t size);
/* From the fields n and s; s empty: one block. 0, or -1 for what no version has written. */
int block_layout_read(struct slice n, struct slice s, struct block_layout *out);
/* The field s; empty for one block. */
struct slice block_layout_write(const struct block_layout *l, char out[BLOCK_LAYOUT_BYTES]);
size_t block_count(const struct block_layout *l);
uint64_t block_start(const struct block_layout *l, size_t block);
size_t block_size(const struct block_layout *l, size_t block);
/* The block that has the byte at offset < size. */
size_t block_at(const struct block_layout *l, uint64_t offset);
/* The field of a block: z, z1, z2 … */
struct slice block_field(size_t block, char out[BLOCK_FIELD_BYTES]);

/* Appends a frame with these bytes. */
void block_compress(struct slice raw, struct buf *out);
/* Writes exactly `size` bytes to out: 0, or -1 when the frame is damaged. */
int block_decompress(struct slice frame, char *out, size_t size);

/* A few blocks of which a range took a part, of this thread, each by its position in the message
 * (start) and its size. NULL: not there. The result is valid until the next call of block_keep. */
const char *block_kept(struct slice id, uint64_t start, size_t size);
/* A place for this block, which the caller fills; NULL for a block that is not kept (more than
 * BLOB_BLOCK bytes). block_drop: it could not be filled. */
char *block_keep(struct slice id, uint64_t start, size_t size);
void block_drop(struct slice id, uint64_t start, size_t size);

#endif
