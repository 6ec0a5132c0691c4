#include "services/accounts/hash_memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HASH_MEMORY = 19 * 1024 * 1024, KEPT_MAX = 16 };

size_t hash_memory_bytes(void) { return HASH_MEMORY; }

/* Memory of hashes that have ended, for the next ones. */
static struct {
    pthread_mutex_t lock; /* guards the rest */
    void *each[KEPT_MAX];
    size_t count;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *take(void) {
    pthread_mutex_lock(&kept.lock);
    void *memory = kept.count ? kept.each[--kept.count] : NULL;
    pthread_mutex_unlock(&kept.lock);
    return memory;
}

static bool keep(void *memory) {
    pthread_mutex_lock(&kept.lock);
    bool room = kept.count < KEPT_MAX;
    if (room) kept.each[kept.count++] = memory;
    pthread_mutex_unlock(&kept.lock);
    return room;
}

void *hash_memory_take(void) {
    void *memory = take();
    if (memory) return memory;
    /* populated by use, when it is known to be huge */
    memory = (void *)syscall(SYS_mmap, NULL, HASH_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) (void)madvise(memory, HASH_MEMORY, MADV_HUGEPAGE); /* it works without them, too */
    return memory;
}

int hash_memory_return(void *memory) {
    /* until it is used again, the kernel may take its pages back */
    if (madvise(memory, HASH_MEMORY, MADV_FREE) == 0 && keep(memory)) return 0;
    return (int)syscall(SYS_munmap, memory, HASH_MEMORY);
}

size_t hash_memory_kept(void) {
    pthread_mutex_lock(&kept.lock);
    size_t count = kept.count;
    pthread_mutex_unlock(&kept.lock);
    return count;
}

/* The sanitizers have an mmap of their own, which must stay theirs. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t offset) {
    if (n == HASH_MEMORY && !address && flags & MAP_ANONYMOUS && protection == (PROT_READ | PROT_WRITE))
        return hash_memory_take();
    return (void *)syscall(SYS_mmap, address, n, protection, flags, fd, offset);
}

int munmap(void *address, size_t n) {
    return n == HASH_MEMORY ? hash_memory_return(address) : (int)syscall(SYS_munmap, address, n);
}
#endif
