#include "libcommon/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The first block is small: an idling session holds one command with its arena. */
enum { FIRST_BYTES = 256 - 64, BLOCK_BYTES = 4096 - 64, ALIGN = 16 };

struct block {
    struct block *next;
    size_t used, cap;
    _Alignas(16) char bytes[];
};

struct arena {
    struct block *first, *current; /* NULL: nothing was handed out */
    size_t used;
};

_Noreturn void memory_exhausted(void) {
    static const char text[] = "{\"level\":\"fatal\",\"msg\":\"out of memory: the process ends and is started again; "
                               "give it more memory or fewer connections\"}\n";
    ssize_t written = write(2, text, sizeof text - 1);
    (void)written;
    _exit(70);
}

void *memory_alloc(size_t n) {
    void *p = calloc(1, n ? n : 1);
    if (!p) memory_exhausted();
    return p;
}

void *memory_resize(void *p, size_t n) {
    void *moved = realloc(p, n ? n : 1);
    if (!moved) memory_exhausted();
    return moved;
}

char *memory_copy(struct slice s) {
    char *p = memory_alloc(s.n + 1);
    if (s.n) memcpy(p, s.p, s.n);
    return p;
}

static struct block *block_create(size_t cap) {
    struct block *b = malloc(sizeof *b + cap);
    if (!b) memory_exhausted();
    b->next = NULL;
    b->used = 0;
    b->cap = cap;
    return b;
}

struct arena *arena_create(void) { return memory_alloc(sizeof(struct arena)); }

static void free_blocks(struct block *b) {
    while (b) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
}

void arena_destroy(struct arena *a) {
    if (!a) return;
    free_blocks(a->first);
    free(a);
}

void arena_reset(struct arena *a) {
    free_blocks(a->first);
    a->first = a->current = NULL;
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n) {
    if (n > SIZE_MAX / 2) memory_exhausted();
    size_t need = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (need == 0) need = ALIGN;
    if (!a->current || a->current->cap - a->current->used < need) {
        size_t least = a->current ? BLOCK_BYTES : FIRST_BYTES;
        struct block *b = block_create(need > least ? need : least);
        *(a->current ? &a->current->next : &a->first) = b;
        a->current = b;
    }
    void *p = a->current->bytes + a->current->used;
    a->current->used += need;
    a->used += need;
    return memset(p, 0, n);
}

char *arena_copy(struct arena *a, struct slice s) {
    char *p = arena_alloc(a, s.n + 1);
    if (s.n) memcpy(p, s.p, s.n);
    return p;
}

struct slice arena_slice(struct arena *a, struct slice s) { return (struct slice){arena_copy(a, s), s.n}; }

char *arena_printf(struct arena *a, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0) return arena_copy(a, SLICE(""));
    char *p = arena_alloc(a, (size_t)n + 1);
    va_start(ap, format);
    vsnprintf(p, (size_t)n + 1, format, ap);
    va_end(ap);
    return p;
}

size_t arena_used(const struct arena *a) { return a->used; }
