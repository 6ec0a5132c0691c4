#include "libcommon/net/compression.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <zlib.h>

#include "libcommon/base/arena.h"

enum {
    RAW_WINDOW = -15, /* bits, without a header (RFC 4978 §4) */
    LEVEL = 3,
    MEMORY = 7, /* the compressor has 192 KB while it is awake */
    PIECE = 16 * 1024,
    WINDOW_BYTES = 32 * 1024,
    MAPPED = 16 * 1024, /* larger pieces of zlib's state are given back to the kernel when they are freed */
    PIECE_HEADER = 64,
    AT_BLOCK = 128, /* z_stream.data_type: before a block, and no bit of it was taken */
};

struct compression {
    z_stream out, in;
    bool writing, reading; /* has its zlib state */
    bool more;             /* the bytes so far may give more than there was room for */
    bool ended;            /* the peer has set the end */
    char *window;          /* of the texts read, while `reading` is false */
    uInt window_bytes;
};

/* The heap would keep what many sessions free between their commands. */
static voidpf take_piece(voidpf ctx, uInt items, uInt size) {
    size_t n = (size_t)items * size + PIECE_HEADER;
    (void)ctx;
    char *p = n < MAPPED ? memory_alloc(n) : mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) memory_exhausted();
    *(size_t *)(void *)p = n;
    return p + PIECE_HEADER;
}

static void give_piece(voidpf ctx, voidpf address) {
    char *p = (char *)address - PIECE_HEADER;
    size_t n = *(size_t *)(void *)p;
    (void)ctx;
    if (n < MAPPED)
        free(p);
    else
        munmap(p, n);
}

struct compression *compression_create(void) { return memory_alloc(sizeof(struct compression)); }

void compression_destroy(struct compression *c) {
    if (!c) return;
    if (c->writing) deflateEnd(&c->out);
    if (c->reading) inflateEnd(&c->in);
    free(c->window);
    free(c);
}

static Bytef *reserve(struct evbuffer *buffer, struct evbuffer_iovec *room) {
    if (evbuffer_reserve_space(buffer, PIECE, room, 1) < 1) memory_exhausted();
    if (room->iov_len > PIECE) room->iov_len = PIECE;
    return room->iov_base;
}

static void commit(struct evbuffer *buffer, struct evbuffer_iovec *room, uInt left) {
    room->iov_len -= left;
    evbuffer_commit_space(buffer, room, 1);
}

void compression_write(struct compression *c, struct slice bytes, bool last, struct evbuffer *out) {
    if (!c->writing) {
        c->out = (z_stream){.zalloc = take_piece, .zfree = give_piece};
        if (deflateInit2(&c->out, LEVEL, Z_DEFLATED, RAW_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
            memory_exhausted();
        c->writing = true;
    }
    do { /* a piece: avail_in has 32 bits */
        struct slice piece = slice_head(bytes, UINT32_MAX / 2);
        bytes = slice_skip(bytes, piece.n);
        c->out.next_in = (Bytef *)(uintptr_t)piece.p;
        c->out.avail_in = (uInt)piece.n;
        do {
            struct evbuffer_iovec room;
            c->out.next_out = reserve(out, &room);
            c->out.avail_out = (uInt)room.iov_len;
            deflate(&c->out, last && !bytes.n ? Z_FINISH : Z_SYNC_FLUSH);
            commit(out, &room, c->out.avail_out);
        } while (!c->out.avail_out);
    } while (bytes.n);
}

static void begin_reading(struct compression *c) {
    c->in = (z_stream){.zalloc = take_piece, .zfree = give_piece};
    if (inflateInit2(&c->in, RAW_WINDOW) != Z_OK) memory_exhausted();
    if (c->window_bytes) inflateSetDictionary(&c->in, (const Bytef *)c->window, c->window_bytes);
    free(c->window);
    c->window = NULL;
    c->window_bytes = 0;
    c->reading = true;
}

int compression_read(struct compression *c, struct evbuffer *raw, struct evbuffer *plain, size_t max) {
    struct evbuffer_iovec chunk = {0};
    while (!c->ended && evbuffer_get_length(plain) < max) {
        size_t n = evbuffer_peek(raw, PIECE, NULL, &chunk, 1) < 1 ? 0 : chunk.iov_len < PIECE ? chunk.iov_len : PIECE;
        struct evbuffer_iovec room;
        if (!n && !c->more) break;
        if (!c->reading) begin_reading(c);
        c->in.next_in = n ? chunk.iov_base : NULL;
        c->in.avail_in = (uInt)n;
        c->in.next_out = reserve(plain, &room);
        c->in.avail_out = (uInt)room.iov_len;
        int result = inflate(&c->in, Z_SYNC_FLUSH);
        c->more = !c->in.avail_out;
        commit(plain, &room, c->in.avail_out);
        evbuffer_drain(raw, n - c->in.avail_in);
        if (result == Z_STREAM_END)
            c->ended = true;
        else if (result != Z_OK && result != Z_BUF_ERROR)
            return -1;
    }
    return c->ended && evbuffer_get_length(raw) ? 1 : 0;
}

void compression_rest(struct compression *c) {
    if (c->writing) { /* all that was written has been flushed: new blocks may follow from anyone */
        deflateEnd(&c->out);
        c->writing = false;
    }
    if (!c->reading || c->more || c->in.data_type != AT_BLOCK) return;
    char *window = memory_alloc(WINDOW_BYTES);
    c->window_bytes = 0;
    if (inflateGetDictionary(&c->in, (Bytef *)window, &c->window_bytes) != Z_OK) {
        free(window);
        return;
    }
    c->window = memory_resize(window, c->window_bytes + 1);
    inflateEnd(&c->in);
    c->reading = false;
}

bool compression_is_awake(const struct compression *c) { return c->writing || c->reading; }
