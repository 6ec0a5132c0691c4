/* A cache of parsed DNS answers by (name, type) until they expire; when it is full, the least
 * recently used is removed. */
#ifndef POSTBUS_VERIFIER_ANSWER_CACHE_H
#define POSTBUS_VERIFIER_ANSWER_CACHE_H

#include "services/verifier/dns/answer.h"

enum { ANSWER_CACHE_BYTES_MAX = 32 * 1024 * 1024 };

struct answer_cache;

struct answer_cache *answer_cache_create(size_t entries_max);
void answer_cache_destroy(struct answer_cache *c);
/* name: lower case, without final dot. NULL when it is missing or expired. Valid until the next
 * put. */
const struct answer *answer_cache_get(struct answer_cache *c, struct slice name, int type, int64_t now_us);
/* Keeps a copy for this many seconds (0: does nothing). */
void answer_cache_put(struct answer_cache *c, struct slice name, int type, const struct answer *a, uint32_t seconds,
                      int64_t now_us);

#endif
