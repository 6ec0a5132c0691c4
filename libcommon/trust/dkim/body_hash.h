/* The body hash of DKIM and ARC signatures (RFC 6376 §3.4, §3.7; RFC 8617 §5.1.2), computed while
 * the body arrives, in pieces of any size. */
#ifndef POSTBUS_TRUST_BODY_HASH_H
#define POSTBUS_TRUST_BODY_HASH_H

#include "libcommon/base/buf.h"

enum { BODY_HASHES_MAX = 10, BODY_HASH_BYTES = 32, SIGNATURES_MAX = 20 };

/* The kind of body hash that a signature needs. sha1 signatures are not verified (RFC 8301 §3.1),
 * so the algorithm is always SHA-256. */
struct body_hash_kind {
    bool relaxed;   /* canonicalisation of the body */
    int64_t length; /* l=; -1: the whole body */
};

/* Finds the distinct kinds that the signatures of this header block need and returns their number,
 * at most BODY_HASHES_MAX. Those of the newest ARC-Message-Signature and of the DKIM-Signature
 * fields that are verified (dkim_select) come before those of older ARC sets. */
size_t body_hash_wanted(struct slice header, struct body_hash_kind kinds[BODY_HASHES_MAX]);

struct body_hash;
struct body_hash *body_hash_create(struct body_hash_kind kind);
void body_hash_update(struct body_hash *h, struct slice bytes);
/* The digest; destroys h. *hashed: the number of bytes of canonical body (fewer than length: the
 * signature's l= is beyond the body). */
void body_hash_finish(struct body_hash *h, unsigned char digest[BODY_HASH_BYTES], uint64_t *hashed);
void body_hash_destroy(struct body_hash *h); /* NULL is allowed */

#endif
