/* Memory that belongs to one command, message or request and is freed with it as a whole. When the
 * machine has no memory left, the process logs this and ends with status 70; no acknowledged data
 * is lost, because that is in the store. */
#ifndef POSTBUS_BASE_ARENA_H
#define POSTBUS_BASE_ARENA_H

#include "libcommon/base/slice.h"

struct arena;

struct arena *arena_create(void);
void arena_destroy(struct arena *a); /* NULL is allowed */
/* Frees all that was handed out, for the next command: an arena without data is 24 bytes. */
void arena_reset(struct arena *a);
/* n zeroed bytes, aligned for any type; never NULL. */
void *arena_alloc(struct arena *a, size_t n);
/* A NUL-terminated copy of s. */
char *arena_copy(struct arena *a, struct slice s);
struct slice arena_slice(struct arena *a, struct slice s);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Bytes handed out since creation or the last reset, for bounds. */
size_t arena_used(const struct arena *a);

/* Zeroed memory from the heap that the caller frees with free(); never NULL. */
void *memory_alloc(size_t n);
void *memory_resize(void *p, size_t n);
char *memory_copy(struct slice s);
_Noreturn void memory_exhausted(void);

#endif
