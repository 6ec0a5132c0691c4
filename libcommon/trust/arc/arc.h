/* ARC (RFC 8617): the chain of seals of the sites that forwarded a message. Its signatures are a
 * variant of DKIM signatures (dkim.h).
 *
 * Every failure, also of a DNS query, makes the chain fail permanently (§5.2.1): there is no
 * temperror. */
#ifndef POSTBUS_TRUST_ARC_H
#define POSTBUS_TRUST_ARC_H

#include "libcommon/trust/dkim/dkim.h"

enum { ARC_SETS_MAX = 50 /* §5.2 step 1 */, ARC_STEPS_MAX = 220 };
enum arc_result { ARC_NONE, ARC_PASS, ARC_FAIL };
const char *arc_result_text(enum arc_result r);

/* One set of a chain whose structure is valid. */
struct arc_link {
    struct slice domain, selector; /* of its seal; A-labels in lower case */
    struct slice results;          /* the text of its ARC-Authentication-Results after "i=N;":
                                      authserv-id and results */
};

struct arc_verdict {
    enum arc_result result; /* cv */
    const char *reason;
    size_t sets;                  /* the highest instance */
    size_t oldest_pass;           /* §5.2 step 5: the lowest instance whose message signature is
                                     still valid; 0: all */
    bool ended;                   /* the newest seal says cv=fail: such a chain must not be
                                     extended */
    const char *sealer;           /* d= of the newest seal; "" */
    const struct arc_link *links; /* `sets` of them, i=1 first; NULL when the structure is
                                     invalid */
    size_t step_count;
    const char **steps; /* what was looked up, hashed and compared; printable ASCII */
};

/* Validates the chain (§5.2). TRUST_PENDING: all missing keys have been requested. */
int arc_verify(struct arena *arena, const struct dkim_message *m, const struct trust_dns *dns,
               struct dkim_key_cache *cache, struct arc_verdict *out);

/* Seals (§5.1): adds ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results of instance
 * sets + 1, in this order, each with CRLF. results: the text after "i=N; authserv-id;" of
 * Authentication-Results, folded. verdict: of arc_verify for the message as received. For a chain
 * that failed the seal says cv=fail and covers only its own set (§5.1.2). 0, or -1: the chain is
 * full or has ended, or the key cannot sign. */
int arc_seal(struct slice header, const unsigned char body_hash[BODY_HASH_BYTES], const struct arc_verdict *verdict,
             struct slice authserv_id, struct slice results, struct slice domain, struct slice selector, EVP_PKEY *key,
             int64_t now, struct buf *out);

#endif
