/* The compression of the texts that the queue keeps: pure. */
#include "libcommon/store/blob/block.h"
#include "libcommon/store/queue.h"

void queue_pack_text(struct slice text, struct buf *out) { block_compress(text, out); }

int queue_unpack_text(struct slice packed, size_t size, struct buf *out) {
    if (size > QUEUE_TEXT_MAX || block_decompress(packed, buf_reserve(out, size), size) != 0) return STORE_INVALID;
    out->n += size;
    return 0;
}
