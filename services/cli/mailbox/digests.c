#include "services/cli/mailbox/digests.h"

#include <stdlib.h>
#include <string.h>

#include "libcommon/base/arena.h"

/* The entry of key, or the free one where it belongs. There is always a free one. */
static struct digest_entry *find(const struct digests *set, const unsigned char key[DIGEST_BYTES]) {
    size_t at;
    memcpy(&at, key, sizeof at);
    for (;; at++) {
        struct digest_entry *e = &set->entries[at & (set->room - 1)];
        if (!e->number || memcmp(e->key, key, DIGEST_BYTES) == 0) return e;
    }
}

static void grow(struct digests *set) {
    struct digests larger = {.room = set->room ? set->room * 2 : 1024, .count = set->count};
    larger.entries = memory_alloc(larger.room * sizeof *larger.entries);
    for (size_t i = 0; i < set->room; i++)
        if (set->entries[i].number) *find(&larger, set->entries[i].key) = set->entries[i];
    free(set->entries);
    *set = larger;
}

uint32_t digests_add(struct digests *set, const unsigned char key[DIGEST_BYTES]) {
    if (set->count * 2 >= set->room) grow(set);
    struct digest_entry *e = find(set, key);
    if (!e->number) {
        memcpy(e->key, key, DIGEST_BYTES);
        set->count++;
    }
    return ++e->number;
}

bool digests_has(const struct digests *set, const unsigned char key[DIGEST_BYTES]) {
    return set->room && find(set, key)->number;
}

void digests_free(struct digests *set) {
    free(set->entries);
    *set = (struct digests){0};
}
