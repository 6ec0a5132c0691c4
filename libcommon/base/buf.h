/* Text and bytes that grow. The bytes are always followed by a NUL that does not count, so `data`
 * is also a C string. A zeroed struct buf is an empty one. Allocation failure ends the process (see
 * arena.h). */
#ifndef POSTBUS_BASE_BUF_H
#define POSTBUS_BASE_BUF_H

#include "libcommon/base/slice.h"

struct buf {
    char *data; /* NULL until the first byte */
    size_t n;   /* bytes in use */
    size_t cap;
};

void buf_free(struct buf *b);
/* Empties b and keeps its memory, unless that is more than 64 KiB. */
void buf_reset(struct buf *b);
/* Makes room for `more` further bytes and returns their address; the caller writes them and then
 * increases b->n. */
char *buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_add_slice(struct buf *b, struct slice s);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Removes the first n bytes. */
void buf_drop(struct buf *b, size_t n);
struct slice buf_slice(const struct buf *b);
/* b's text as a C string: "" when empty. */
const char *buf_str(const struct buf *b);

#endif
