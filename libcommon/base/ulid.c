#include "libcommon/base/ulid.h"

#include <sodium.h>

#include "libcommon/base/clock.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void ulid_create(char out[ULID_BYTES]) {
    uint64_t ms = (uint64_t)clock_wall_ms();
    unsigned char random[10];
    randombytes_buf(random, sizeof random);
    for (int i = 9; i >= 0; i--) {
        out[i] = alphabet[ms & 31];
        ms >>= 5;
    }
    for (int half = 0; half < 2; half++) {
        uint64_t bits = 0;
        for (int i = 0; i < 5; i++) bits = bits << 8 | random[half * 5 + i];
        for (int i = 7; i >= 0; i--) {
            out[10 + half * 8 + i] = alphabet[bits & 31];
            bits >>= 5;
        }
    }
    out[ULID_LENGTH] = 0;
}

bool ulid_is_valid(struct slice s) {
    if (s.n != ULID_LENGTH || s.p[0] > '7') return false;
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || !strchr(alphabet, s.p[i])) return false;
    return true;
}
