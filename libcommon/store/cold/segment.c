#include "libcommon/store/cold/segment.h"

#include <endian.h>
#include <stdio.h>

#define MAGIC "PBSEG1\r\n"

static uint64_t u64_read(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static uint32_t u32_read(const char *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static void u32_write(struct buf *out, uint32_t v) {
    v = htole32(v);
    buf_add(out, &v, sizeof v);
}

static void u64_write(struct buf *out, uint64_t v) {
    v = htole64(v);
    buf_add(out, &v, sizeof v);
}

int cold_place_read(struct slice text, struct cold_place *out) {
    struct slice tier, segment, offset;
    if (!slice_cut(&text, ' ', &tier) || !slice_cut(&text, ' ', &segment) || !slice_cut(&text, ' ', &offset)) return -1;
    if (!slice_is(tier, "d") && !slice_is(tier, "s")) return -1;
    if (!ulid_is_valid(segment) || slice_to_u64(offset, INT64_MAX, &out->offset) != 0 ||
        slice_to_u64(text, INT64_MAX, &out->length) != 0)
        return -1;
    out->tier = *tier.p == 'd' ? COLD_DIRECTORY : COLD_S3;
    memcpy(out->segment, segment.p, ULID_LENGTH);
    out->segment[ULID_LENGTH] = 0;
    return 0;
}

struct slice cold_place_write(const struct cold_place *p, char out[COLD_PLACE_BYTES]) {
    int n = snprintf(out, COLD_PLACE_BYTES, "%c %s %llu %llu", (int)p->tier, p->segment, (unsigned long long)p->offset,
                     (unsigned long long)p->length);
    return slice_make(out, (size_t)n);
}

int cold_index_span(struct slice index, uint64_t total, size_t first, size_t count, uint64_t *offset, uint64_t *length,
                    uint32_t lengths[]) {
    size_t blocks = index.n ? index.n / 4 : 1;
    if (index.n % 4 || first >= blocks || count > blocks - first) return -1;
    uint64_t sum = 0;
    *offset = *length = 0;
    for (size_t i = 0; i < blocks; i++) {
        uint64_t n = index.n ? u32_read(index.p + 4 * i) : total;
        if (n > UINT32_MAX) return -1;
        if (i < first) *offset += n;
        if (i >= first && i < first + count) {
            lengths[i - first] = (uint32_t)n;
            *length += n;
        }
        sum += n;
    }
    return sum == total ? 0 : -1;
}

void segment_head_write(struct buf *out, size_t count, struct segment_entry entries[]) {
    uint64_t at = SEGMENT_HEAD_BYTES + count * SEGMENT_ENTRY_BYTES;
    buf_add_str(out, MAGIC);
    u32_write(out, (uint32_t)count);
    u32_write(out, 0);
    for (size_t i = 0; i < count; i++) {
        entries[i].offset = at;
        at += entries[i].length;
        buf_add(out, entries[i].id, ULID_LENGTH);
        buf_add(out, "\0", 2);
        u64_write(out, entries[i].offset);
        u64_write(out, entries[i].length);
    }
}

int segment_head_read(struct slice bytes, struct segment_entry entries[]) {
    if (bytes.n < SEGMENT_HEAD_BYTES || !slice_starts(bytes, SLICE(MAGIC))) return -1;
    uint32_t count = u32_read(bytes.p + 8);
    if (count > SEGMENT_BODIES_MAX || bytes.n < SEGMENT_HEAD_BYTES + (size_t)count * SEGMENT_ENTRY_BYTES) return -1;
    for (size_t i = 0; i < count; i++) {
        const char *at = bytes.p + SEGMENT_HEAD_BYTES + i * SEGMENT_ENTRY_BYTES;
        if (!ulid_is_valid(slice_make(at, ULID_LENGTH))) return -1;
        memcpy(entries[i].id, at, ULID_LENGTH);
        entries[i].id[ULID_LENGTH] = 0;
        entries[i].offset = u64_read(at + 28);
        entries[i].length = u64_read(at + 36);
    }
    return (int)count;
}
