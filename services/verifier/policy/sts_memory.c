#include "services/verifier/policy/sts_memory.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"

struct place {
    char *domain;
    json_t *kept;
    int64_t at_ms;
};

struct sts_memory {
    struct place places[STS_MEMORY_PLACES];
};

struct sts_memory *sts_memory_create(void) { return memory_alloc(sizeof(struct sts_memory)); }

static void clear(struct place *p) {
    free(p->domain);
    json_decref(p->kept);
    *p = (struct place){0};
}

void sts_memory_destroy(struct sts_memory *m) {
    if (!m) return;
    for (size_t i = 0; i < STS_MEMORY_PLACES; i++) clear(&m->places[i]);
    free(m);
}

static struct place *place_of(struct sts_memory *m, struct slice domain) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < domain.n; i++) h = (h ^ (unsigned char)domain.p[i]) * 1099511628211u;
    return &m->places[h % STS_MEMORY_PLACES];
}

void sts_memory_put(struct sts_memory *m, struct slice domain, json_t *kept, int64_t now_ms) {
    struct place *p = place_of(m, domain);
    json_incref(kept); /* it may be the stored one */
    clear(p);
    *p = (struct place){memory_copy(domain), kept, now_ms};
}

json_t *sts_memory_get(struct sts_memory *m, struct slice domain, int64_t now_ms, int64_t age_ms) {
    const struct place *p = place_of(m, domain);
    return p->domain && slice_is(domain, p->domain) && now_ms - p->at_ms <= age_ms ? p->kept : NULL;
}
