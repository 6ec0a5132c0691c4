#include "libcommon/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"

enum { KEEP_AT_MOST = 64 * 1024 };

void buf_free(struct buf *b) {
    free(b->data);
    *b = (struct buf){0};
}

void buf_reset(struct buf *b) {
    if (b->cap > KEEP_AT_MOST) {
        buf_free(b);
        return;
    }
    b->n = 0;
    if (b->data) b->data[0] = 0;
}

char *buf_reserve(struct buf *b, size_t more) {
    if (more > SIZE_MAX / 2 - b->n - 1) memory_exhausted();
    size_t need = b->n + more + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need) cap *= 2;
        b->data = memory_resize(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->n;
}

void buf_add(struct buf *b, const void *bytes, size_t n) {
    char *at = buf_reserve(b, n);
    if (n) memcpy(at, bytes, n);
    b->n += n;
    b->data[b->n] = 0;
}

void buf_add_slice(struct buf *b, struct slice s) { buf_add(b, s.p, s.n); }
void buf_add_str(struct buf *b, const char *s) { buf_add(b, s, strlen(s)); }
void buf_add_char(struct buf *b, char c) { buf_add(b, &c, 1); }

void buf_printf(struct buf *b, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    char *at = buf_reserve(b, 128);
    int n = vsnprintf(at, b->cap - b->n, format, ap);
    va_end(ap);
    if (n < 0) return;
    if ((size_t)n >= b->cap - b->n) {
        at = buf_reserve(b, (size_t)n);
        va_start(ap, format);
        vsnprintf(at, b->cap - b->n, format, ap);
        va_end(ap);
    }
    b->n += (size_t)n;
}

void buf_drop(struct buf *b, size_t n) {
    if (n >= b->n) {
        b->n = 0;
        if (b->data) b->data[0] = 0;
        return;
    }
    memmove(b->data, b->data + n, b->n - n + 1);
    b->n -= n;
}

struct slice buf_slice(const struct buf *b) { return (struct slice){b->data ? b->data : "", b->n}; }
const char *buf_str(const struct buf *b) { return b->data && b->n ? b->data : ""; }
