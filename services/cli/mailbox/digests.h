/* A set of digests (or of other 16 bytes that are as good as random), each with a number. */
#ifndef POSTBUS_CLI_DIGESTS_H
#define POSTBUS_CLI_DIGESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BYTES = 16 };

struct digest_entry {
    unsigned char key[DIGEST_BYTES];
    uint32_t number; /* 0: the entry is free */
};
struct digests {
    struct digest_entry *entries; /* NULL: empty */
    size_t count, room;           /* room: a power of two */
};

/* Adds one to the number of key, which begins with 0, and returns it. */
uint32_t digests_add(struct digests *set, const unsigned char key[DIGEST_BYTES]);
bool digests_has(const struct digests *set, const unsigned char key[DIGEST_BYTES]);
void digests_free(struct digests *set);

#endif
