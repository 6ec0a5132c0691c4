/* The memory of argon2id. libsodium maps it for each hash and unmaps it afterwards, and the kernel
 * needs about as long to provide it as argon2 to use it, most of it to fill pages with zeroes. So
 * this program's mmap and munmap treat maps of exactly this size in their own way; all other maps
 * are unchanged.
 *
 *   huge pages   if the kernel offers them (transparent_hugepage: madvise or always)
 *   kept         what a hash has unmapped is used for the next one, as it is: argon2 writes every
 *                block before it reads it. At most one area for each thread that hashes, and no
 *                more than 16. Unused ones belong to the process, but the kernel may take their
 *                pages back at any time (MADV_FREE).
 *
 * docs/performance-limits.md has the measurements. */
#ifndef POSTBUS_ACCOUNTS_HASH_MEMORY_H
#define POSTBUS_ACCOUNTS_HASH_MEMORY_H

#include <stddef.h>

/* OWASP's minimum for argon2id with two passes and one lane. */
size_t hash_memory_bytes(void);

/* An area of this size; MAP_FAILED when there is no memory. */
void *hash_memory_take(void);
/* Ends its use: 0, or -1 as munmap. */
int hash_memory_return(void *memory);
/* The number of areas that are kept for further hashes. */
size_t hash_memory_kept(void);

#endif
