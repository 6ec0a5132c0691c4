/* A segment of the cold tier: one immutable file (or object) with the blocks of some bodies.
 *
 *   8 bytes   "PBSEG1\r\n"
 *   u32       the number of bodies, at most SEGMENT_BODIES_MAX
 *   u32       0
 *   44 bytes  for each body: its id (26), 0 (2), offset (u64), length (u64)
 *   bytes     the blocks of each body, one behind the other
 *
 * Numbers are little-endian. Where a body is kept is in its field c of Redis: a place, "d <segment>
 * <offset> <length>"; the lengths of its blocks, where there are several, are in its field i, a u32
 * each. All of this is pure. */
#ifndef POSTBUS_STORE_SEGMENT_H
#define POSTBUS_STORE_SEGMENT_H

#include "libcommon/base/buf.h"
#include "libcommon/base/ulid.h"

enum {
    SEGMENT_BODIES_MAX = 512,
    SEGMENT_HEAD_BYTES = 16,
    SEGMENT_ENTRY_BYTES = 44,
    SEGMENT_HEAD_MAX = SEGMENT_HEAD_BYTES + SEGMENT_BODIES_MAX * SEGMENT_ENTRY_BYTES,
    COLD_PLACE_BYTES = 80,
};

/* The tiers, as the first letter of a place says. */
enum cold_tier { COLD_DIRECTORY = 'd', COLD_S3 = 's' };

struct cold_place {
    enum cold_tier tier;
    char segment[ULID_BYTES];
    uint64_t offset, length;
};

/* 0, or -1 for what no version has written. */
int cold_place_read(struct slice text, struct cold_place *out);
struct slice cold_place_write(const struct cold_place *p, char out[COLD_PLACE_BYTES]);

/* Where blocks first … first + count - 1 of a body are, relative to its beginning. total: the length
 * of the body in the segment; index: its field i, empty for one block. lengths: of each of these
 * blocks. 0, or -1 when the index is not one of so many blocks and bytes. */
int cold_index_span(struct slice index, uint64_t total, size_t first, size_t count, uint64_t *offset, uint64_t *length,
                    uint32_t lengths[]);

struct segment_entry {
    char id[ULID_BYTES];
    uint64_t offset, length;
};
/* Appends the head of a segment: offset of each entry is set from the lengths. */
void segment_head_write(struct buf *out, size_t count, struct segment_entry entries[]);
/* The entries of a segment that begins with these bytes, at most SEGMENT_BODIES_MAX: their number,
 * or -1. */
int segment_head_read(struct slice bytes, struct segment_entry entries[]);

#endif
