/* ARC (RFC 8617): the chain of seals of those who handed a message on. */
#ifndef POSTBUS_TRUST_ARC_H
#define POSTBUS_TRUST_ARC_H

#include "libcommon/trust/dkim.h"

enum { ARC_SETS_MAX = 50 };
enum arc_result { ARC_NONE, ARC_PASS, ARC_FAIL };
const char *arc_result_text(enum arc_result r);

struct arc_verdict {
    enum arc_result result; /* cv */
    const char *reason;
    size_t sets;
    size_t oldest_pass; /* §5.2 step 7: the lowest instance whose message signature still fits; 0: all */
    const char *sealer; /* d= of the newest seal; "" */
};

/* Validates the chain (§5.2). TRUST_PENDING as elsewhere; a DNS failure is a fail (there is no temperror of a chain). */
int arc_verify(struct arena *arena, struct slice header, size_t digest_count, const struct body_digest digests[], const struct trust_dns *dns,
               struct dkim_key_cache *cache, struct arc_verdict *out);

/* Seals (§5.1): adds ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results of instance sets + 1, in this order, each with CRLF. results: what follows
 * "i=N; authserv-id;" of Authentication-Results. verdict: of arc_verify on the message as it came. 0, or -1 when the chain has no room or the key cannot sign.
 */
int arc_seal(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], const struct arc_verdict *verdict, struct slice authserv_id,
             struct slice results, struct slice domain, struct slice selector, EVP_PKEY *key, int64_t now, struct buf *out);

#endif
