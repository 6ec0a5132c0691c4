/* ARC (RFC 8617): the chain of seals of those who handed a message on. Its signatures are DKIM's in another dress
 * (dkim.h).
 *
 * Every failure is a fail of the chain for good, an unanswered DNS question too (§5.2.1): there is no temperror. */
#ifndef POSTBUS_TRUST_ARC_H
#define POSTBUS_TRUST_ARC_H

#include "libcommon/trust/dkim/dkim.h"

enum { ARC_SETS_MAX = 50 /* §5.2 step 1 */, ARC_STEPS_MAX = 220 };
enum arc_result { ARC_NONE, ARC_PASS, ARC_FAIL };
const char *arc_result_text(enum arc_result r);

/* One set of the chain, of a chain whose structure is right. */
struct arc_link {
    struct slice domain, selector; /* of its seal; A-labels in lower case */
    struct slice
        results; /* what its ARC-Authentication-Results says after "i=N;": authserv-id and results, as it stands */
};

struct arc_verdict {
    enum arc_result result; /* cv */
    const char *reason;
    size_t sets;                  /* the highest instance */
    size_t oldest_pass;           /* §5.2 step 5: the lowest instance whose message signature still fits; 0: all */
    bool ended;                   /* the newest seal says cv=fail: nobody adds to such a chain */
    const char *sealer;           /* d= of the newest seal; "" */
    const struct arc_link *links; /* `sets` of them, i=1 first; NULL when the structure is wrong */
    size_t step_count;
    const char **steps; /* what was looked up, hashed and compared; printable ASCII */
};

/* Validates the chain (§5.2). TRUST_PENDING: all keys that are missing have been asked for. */
int arc_verify(struct arena *arena, const struct dkim_message *m, const struct trust_dns *dns,
               struct dkim_key_cache *cache, struct arc_verdict *out);

/* Seals (§5.1): adds ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results of instance sets + 1, in this
 * order, each with CRLF. results: what follows "i=N; authserv-id;" of Authentication-Results, folded. verdict: of
 * arc_verify on the message as it came. Of a chain that failed the seal says cv=fail and covers its own set alone
 * (§5.1.2). 0, or -1: the chain has no room or has ended, or the key cannot sign. */
int arc_seal(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], const struct arc_verdict *verdict,
             struct slice authserv_id, struct slice results, struct slice domain, struct slice selector, EVP_PKEY *key,
             int64_t now, struct buf *out);

#endif
