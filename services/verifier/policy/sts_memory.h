/* A worker's copies of what Redis keeps of MTA-STS domains: a table of fixed size, in which a newcomer takes the place
 * of another. */
#ifndef POSTBUS_VERIFIER_STS_MEMORY_H
#define POSTBUS_VERIFIER_STS_MEMORY_H

#include <jansson.h>

#include "libcommon/base/slice.h"

enum { STS_MEMORY_PLACES = 512, STS_MEMORY_FRESH_MS = 60000 /* so long Redis is not asked again */ };

struct sts_memory;
struct sts_memory *sts_memory_create(void);
void sts_memory_destroy(struct sts_memory *m);
/* Remembers what is kept of a domain (a new reference is taken). */
void sts_memory_put(struct sts_memory *m, struct slice domain, json_t *kept, int64_t now_ms);
/* What was remembered at most age_ms ago; NULL when there is nothing. The table's. */
json_t *sts_memory_get(struct sts_memory *m, struct slice domain, int64_t now_ms, int64_t age_ms);

#endif
