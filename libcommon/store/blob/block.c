#include "libcommon/store/blob/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <threads.h>
#include <zstd.h>

#include "libcommon/base/arena.h"

/* Level 1 takes about 20 µs for a 4 KB mail and halves it. KEPT: 2 MB of each thread. */
enum { ZSTD_LEVEL = 1, KEPT = 32, ID_BYTES = 32 };

struct kept {
    char id[ID_BYTES];
    size_t id_n, size; /* id_n 0: a free place */
    uint64_t start, used;
    char *bytes;
};

/* One set for each thread, freed when the thread ends, because creating a context costs more than
 * compressing a mail. */
struct codec {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    uint64_t clock;
    struct kept kept[KEPT];
};
static tss_t codec_key;
static once_flag codec_once = ONCE_FLAG_INIT;

static void codec_free(void *p) {
    struct codec *c = p;
    ZSTD_freeCCtx(c->compressor);
    ZSTD_freeDCtx(c->decompressor);
    for (size_t i = 0; i < KEPT; i++) free(c->kept[i].bytes);
    free(c);
}

static void codec_key_create(void) {
    if (tss_create(&codec_key, codec_free) != thrd_success) memory_exhausted();
}

static struct codec *codec_get(void) {
    call_once(&codec_once, codec_key_create);
    struct codec *c = tss_get(codec_key);
    if (c) return c;
    c = memory_alloc(sizeof *c);
    *c = (struct codec){.compressor = ZSTD_createCCtx(), .decompressor = ZSTD_createDCtx()};
    if (!c->compressor || !c->decompressor || tss_set(codec_key, c) != thrd_success) memory_exhausted();
    ZSTD_CCtx_setParameter(c->compressor, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(c->compressor, ZSTD_c_checksumFlag, 1);
    return c;
}

/* Layout */

struct block_layout block_layout_of(uint64_t size) {
    uint64_t each = size > BLOB_BLOCK ? BLOB_BLOCK : size;
    return (struct block_layout){size, each, each};
}

int block_layout_read(struct slice n, struct slice s, struct block_layout *out) {
    struct slice each = s;
    if (slice_to_u64(n, BLOB_MAX, &out->size) != 0) return -1;
    out->first = out->each = out->size;
    if (s.n == 0) return 0;
    bool both = slice_cut(&s, ' ', &each);
    if (slice_to_u64(each, BLOB_BLOCK, &out->each) != 0 || out->each == 0) return -1;
    out->first = out->each;
    return both && (slice_to_u64(s, BLOB_MAX, &out->first) != 0 || out->first > out->size) ? -1 : 0;
}

struct slice block_layout_write(const struct block_layout *l, char out[BLOCK_LAYOUT_BYTES]) {
    int n = 0;
    if (l->first != l->each)
        n = snprintf(out, BLOCK_LAYOUT_BYTES, "%llu %llu", (unsigned long long)l->each, (unsigned long long)l->first);
    else if (l->size > l->each)
        n = snprintf(out, BLOCK_LAYOUT_BYTES, "%llu", (unsigned long long)l->each);
    return slice_make(out, (size_t)n);
}

size_t block_count(const struct block_layout *l) {
    return l->size <= l->first ? 1 : 1 + (size_t)((l->size - l->first + l->each - 1) / l->each);
}

uint64_t block_start(const struct block_layout *l, size_t block) {
    return block == 0 ? 0 : l->first + (block - 1) * l->each;
}

size_t block_size(const struct block_layout *l, size_t block) {
    uint64_t start = block_start(l, block), most = block == 0 ? l->first : l->each;
    return (size_t)(l->size - start < most ? l->size - start : most);
}

size_t block_at(const struct block_layout *l, uint64_t offset) {
    return offset < l->first || l->size <= l->first ? 0 : 1 + (size_t)((offset - l->first) / l->each);
}

struct slice block_field(size_t block, char out[BLOCK_FIELD_BYTES]) {
    if (block == 0) return SLICE("z");
    int n = snprintf(out, BLOCK_FIELD_BYTES, "z%zu", block);
    return slice_make(out, (size_t)n);
}

/* Compression */

void block_compress(struct slice raw, struct buf *out) {
    size_t room = ZSTD_compressBound(raw.n);
    size_t n = ZSTD_compress2(codec_get()->compressor, buf_reserve(out, room), room, raw.p, raw.n);
    if (ZSTD_isError(n))
        memory_exhausted(); /* the buffer has the size of the bound, so only an
                               allocation can fail */
    out->n += n;
}

int block_decompress(struct slice frame, char *out, size_t size) {
    size_t n = ZSTD_decompressDCtx(codec_get()->decompressor, out, size, frame.p, frame.n);
    return ZSTD_isError(n) || n != size ? -1 : 0;
}

/* Kept blocks */

static struct kept *find(struct slice id, uint64_t start, size_t size) {
    struct codec *c = codec_get();
    for (size_t i = 0; i < KEPT && id.n; i++) {
        struct kept *k = &c->kept[i];
        if (k->start != start || k->size != size || !slice_equal(slice_make(k->id, k->id_n), id)) continue;
        k->used = ++c->clock;
        return k;
    }
    return NULL;
}

const char *block_kept(struct slice id, uint64_t start, size_t size) {
    const struct kept *k = find(id, start, size);
    return k ? k->bytes : NULL;
}

char *block_keep(struct slice id, uint64_t start, size_t size) {
    struct codec *c = codec_get();
    if (id.n == 0 || id.n > ID_BYTES || size > BLOB_BLOCK) return NULL;
    struct kept *oldest = find(id, start, size);
    if (!oldest) {
        oldest = c->kept;
        for (size_t i = 1; i < KEPT; i++)
            if (c->kept[i].used < oldest->used) oldest = &c->kept[i];
    }
    if (!oldest->bytes) oldest->bytes = memory_alloc(BLOB_BLOCK);
    memcpy(oldest->id, id.p, id.n);
    oldest->id_n = id.n;
    oldest->start = start;
    oldest->size = size;
    oldest->used = ++c->clock;
    return oldest->bytes;
}

void block_drop(struct slice id, uint64_t start, size_t size) {
    struct kept *k = find(id, start, size);
    if (!k) return;
    k->id_n = 0;
    k->used = 0;
}
