/* What the store says of a body: its layout, its place in the cold tier, the lengths of its blocks;
 * and the head of a segment. */
#include <stdint.h>
#include <stdlib.h>

#include "libcommon/store/blob/block.h"
#include "libcommon/store/cold/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void layout(struct slice all) {
    struct slice n, s = all;
    struct block_layout l;
    if (!slice_cut(&s, '\n', &n) || block_layout_read(n, s, &l) != 0) return;
    size_t count = block_count(&l);
    uint64_t sum = 0;
    if (count > 100000) return;
    for (size_t i = 0; i < count; i++) {
        if (block_start(&l, i) != sum || block_size(&l, i) > BLOB_MAX) abort();
        sum += block_size(&l, i);
    }
    if (sum != l.size) abort();
    if (l.size && (block_at(&l, 0) >= count || block_at(&l, l.size - 1) >= count)) abort();
}

static void place(struct slice all) {
    struct cold_place p, again;
    char text[COLD_PLACE_BYTES];
    if (cold_place_read(all, &p) != 0) return;
    if (cold_place_read(cold_place_write(&p, text), &again) != 0 || again.offset != p.offset ||
        again.length != p.length || again.tier != p.tier)
        abort();
}

static void index_span(struct slice all) {
    uint32_t lengths[64];
    uint64_t offset, length, total = 0;
    if (all.n < 3) return;
    size_t first = (unsigned char)all.p[0], count = (unsigned char)all.p[1] % 64 + 1;
    all = slice_skip(all, 2);
    for (size_t i = 0; i + 4 <= all.n; i += 4) {
        uint32_t n;
        memcpy(&n, all.p + i, 4);
        total += n;
    }
    if (cold_index_span(all, total, first, count, &offset, &length, lengths) != 0) return;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += lengths[i];
    if (sum != length || offset + length > total) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct segment_entry entries[SEGMENT_BODIES_MAX];
    struct slice all = slice_make(data, size);
    layout(all);
    place(all);
    index_span(all);
    int count = segment_head_read(all, entries);
    if (count > SEGMENT_BODIES_MAX) abort();
    return 0;
}
