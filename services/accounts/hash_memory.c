#include "services/accounts/hash_memory.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HASH_MEMORY = 19 * 1024 * 1024 };

size_t hash_memory_bytes(void) { return HASH_MEMORY; }

/* The sanitizers have an mmap of their own, which must stay theirs. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t offset) {
    if (n != HASH_MEMORY || address || !(flags & MAP_ANONYMOUS))
        return (void *)syscall(SYS_mmap, address, n, protection, flags, fd, offset);
    /* populated by use, when it is known to be huge */
    void *memory = (void *)syscall(SYS_mmap, NULL, n, protection, flags & ~MAP_POPULATE, fd, offset);
    if (memory != MAP_FAILED) (void)madvise(memory, n, MADV_HUGEPAGE); /* without them it is as it was */
    return memory;
}
#endif
