/* A worker's copies of the MTA-STS data in Redis: a table of fixed size, in which a new entry
 * replaces another. */
#ifndef POSTBUS_VERIFIER_STS_MEMORY_H
#define POSTBUS_VERIFIER_STS_MEMORY_H

#include <jansson.h>

#include "libcommon/base/slice.h"

enum { STS_MEMORY_PLACES = 512, STS_MEMORY_FRESH_MS = 60000 /* for this time Redis is not read again */ };

struct sts_memory;
struct sts_memory *sts_memory_create(void);
void sts_memory_destroy(struct sts_memory *m);
/* Stores the data of a domain (takes a new reference). */
void sts_memory_put(struct sts_memory *m, struct slice domain, json_t *kept, int64_t now_ms);
/* Data that was stored at most age_ms ago, or NULL. Borrowed. */
json_t *sts_memory_get(struct sts_memory *m, struct slice domain, int64_t now_ms, int64_t age_ms);

#endif
