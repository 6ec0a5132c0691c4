/* The memory of argon2id. libsodium maps it again for each hash, and with pages of 4 KiB the kernel
 * needs nearly as long to provide it as argon2 to use it. So this program's mmap returns maps of
 * exactly this size in huge pages, if the kernel offers them (transparent_hugepage: madvise or
 * always). Measured: 14 ms of CPU time for a hash instead of 22. All other maps are unchanged. */
#ifndef POSTBUS_ACCOUNTS_HASH_MEMORY_H
#define POSTBUS_ACCOUNTS_HASH_MEMORY_H

#include <stddef.h>

/* OWASP's minimum for argon2id with two passes and one lane. */
size_t hash_memory_bytes(void);

#endif
