#include "libcommon/trust/dkim/body_hash.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"

/* Output is collected and passed to the digest in pieces. */
enum { PIECE = 4096 };

struct body_hash {
    EVP_MD_CTX *md;
    struct body_hash_kind kind;
    uint64_t hashed;
    uint64_t pending_lines; /* empty lines seen and not yet written: they are hashed only when
                               another line follows (RFC 6376 §3.4.3, §3.4.4) */
    bool pending_space, pending_cr, line_empty, any;
    size_t n;
    unsigned char piece[PIECE];
};

struct body_hash *body_hash_create(struct body_hash_kind kind) {
    struct body_hash *h = memory_alloc(sizeof *h);
    h->kind = kind;
    h->md = EVP_MD_CTX_new();
    if (!h->md || EVP_DigestInit_ex(h->md, EVP_sha256(), NULL) != 1) memory_exhausted();
    h->line_empty = true;
    return h;
}

void body_hash_destroy(struct body_hash *h) {
    if (!h) return;
    EVP_MD_CTX_free(h->md);
    free(h);
}

static void flush(struct body_hash *h) {
    if (h->n) EVP_DigestUpdate(h->md, h->piece, h->n);
    h->n = 0;
}

static void put(struct body_hash *h, const char *p, size_t n) {
    if (h->kind.length >= 0) {
        uint64_t left = (uint64_t)h->kind.length - h->hashed;
        if (n > left) n = (size_t)left;
    }
    h->hashed += n;
    if (n > PIECE - h->n) {
        flush(h);
        if (n >= PIECE) {
            EVP_DigestUpdate(h->md, p, n);
            return;
        }
    }
    memcpy(h->piece + h->n, p, n);
    h->n += n;
}

/* A byte that is not a line end follows: the empty lines before it are hashed. */
static void put_pending(struct body_hash *h) {
    for (; h->pending_lines; h->pending_lines--) put(h, "\r\n", 2);
    if (h->pending_space) put(h, " ", 1);
    h->pending_space = false;
    h->line_empty = false;
    h->any = true;
}

static void end_line(struct body_hash *h) {
    h->pending_space = false; /* white space at a line's end is removed (§3.4.4) */
    if (h->line_empty) {
        h->pending_lines++;
    } else {
        put(h, "\r\n", 2);
        h->line_empty = true;
    }
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* Hashes the rest of a line that has begun, byte by byte; most of the time of a relaxed body is
 * spent here. Returns the end position. */
static const char *put_relaxed(struct body_hash *h, const char *p, const char *end) {
    while (p < end && *p != '\r') {
        if (PIECE - h->n < 2) flush(h);
        unsigned char *begin = h->piece + h->n, *to = begin,
                      *full = h->piece + PIECE - 1; /* there is always room for a byte and a space
                                                       before it */
        bool space = h->pending_space;
        for (; p < end && *p != '\r' && to < full; p++) {
            bool blank = is_blank(*p); /* without branches, which would be mispredicted for words of
                                          varying length */
            *to = ' ';
            to += space & !blank;
            *to = (unsigned char)*p;
            to += !blank;
            space = blank;
        }
        h->pending_space = space;
        h->n += (size_t)(to - begin);
        h->hashed += (uint64_t)(to - begin);
    }
    return p;
}

void body_hash_update(struct body_hash *h, struct slice bytes) {
    const char *p = bytes.p, *end = p + bytes.n;
    while (p < end) {
        if (h->pending_cr) {
            h->pending_cr = false;
            if (*p == '\n') {
                end_line(h);
                p++;
                continue;
            }
            put_pending(h);
            put(h, "\r", 1); /* a single CR is data */
        }
        if (*p == '\r') {
            h->pending_cr = true;
            p++;
        } else if (h->kind.relaxed && is_blank(*p)) {
            h->pending_space = true;
            p++;
        } else if (h->kind.relaxed && h->kind.length < 0 && !h->line_empty) {
            p = put_relaxed(h, p, end);
        } else {
            const char *run = p;
            if (h->kind.relaxed) {
                while (p < end && *p != '\r' && !is_blank(*p)) p++;
            } else {
                p = memchr(run, '\r', (size_t)(end - run));
                if (!p) p = end;
            }
            put_pending(h);
            put(h, run, (size_t)(p - run));
        }
    }
}

void body_hash_finish(struct body_hash *h, unsigned char digest[BODY_HASH_BYTES], uint64_t *hashed) {
    if (h->pending_cr) {
        put_pending(h);
        put(h, "\r", 1);
    }
    /* A body that does not end with CRLF gets one; an empty body is CRLF in simple (§3.4.3) and
     * nothing in relaxed (§3.4.4). */
    if (!h->line_empty || (!h->any && !h->kind.relaxed)) put(h, "\r\n", 2);
    flush(h);
    EVP_DigestFinal_ex(h->md, digest, NULL);
    *hashed = h->hashed;
    body_hash_destroy(h);
}
