/* Recently used right passwords, for all workers of the process, one for each name, as keyed hashes
 * with a key that only this process knows. The stored hash is part of the hashed data, so a cached
 * password becomes invalid when another is set. Any thread may call. */
#ifndef POSTBUS_ACCOUNTS_LOGIN_CACHE_H
#define POSTBUS_ACCOUNTS_LOGIN_CACHE_H

#include <stdbool.h>

#include "libcommon/base/slice.h"

struct login_cache;

/* kept_seconds: time for which a password is cached; max: number of names. */
struct login_cache *login_cache_create(int kept_seconds, size_t max);
void login_cache_destroy(struct login_cache *c);
bool login_cache_has(struct login_cache *c, const char *address, const char *stored, const char *password);
void login_cache_add(struct login_cache *c, const char *address, const char *stored, const char *password);
/* Removes one name; or all names of a domain. */
void login_cache_forget(struct login_cache *c, const char *address);
void login_cache_forget_domain(struct login_cache *c, const char *domain);
size_t login_cache_count(struct login_cache *c);

#endif
