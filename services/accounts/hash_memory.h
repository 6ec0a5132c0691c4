/* The memory of argon2id. libsodium maps it afresh for each hash, and in pages of 4 KiB the kernel spends nearly as
 * long on giving it out as argon2 spends on using it. So this program's mmap gives maps of exactly this size in huge
 * pages, where the kernel has them for those who ask (transparent_hugepage: madvise or always): measured, 14 ms of a
 * core a hash instead of 22. All other maps are the kernel's, unchanged. */
#ifndef POSTBUS_ACCOUNTS_HASH_MEMORY_H
#define POSTBUS_ACCOUNTS_HASH_MEMORY_H

#include <stddef.h>

/* OWASP's minimum for argon2id with two passes and one lane. */
size_t hash_memory_bytes(void);

#endif
