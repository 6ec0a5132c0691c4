/* Ids that are computed from their object, so that a repeated step has the same id (docs/laws.md,
 * law 2). */
#include <sodium.h>

#include "services/reporter/reporter.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
enum { TIME_CHARACTERS = 10 };

void report_ulid(int64_t ms, const char *text, char out[ULID_BYTES]) {
    unsigned char digest[32];
    uint64_t time = (uint64_t)ms;
    crypto_generichash(digest, sizeof digest, (const unsigned char *)text, strlen(text), NULL, 0);
    for (int i = TIME_CHARACTERS - 1; i >= 0; i--, time >>= 5) out[i] = alphabet[time & 31];
    for (int i = TIME_CHARACTERS; i < ULID_LENGTH; i++) out[i] = alphabet[digest[i] & 31];
    out[ULID_LENGTH] = 0;
}

int64_t ulid_ms(const char *ulid) {
    uint64_t time = 0;
    for (int i = 0; i < TIME_CHARACTERS; i++) {
        const char *at = strchr(alphabet, ulid[i]);
        time = time << 5 | (uint64_t)(at && *at ? at - alphabet : 0);
    }
    return (int64_t)time;
}
