/* verifier.verify, verifier.prefetch and verifier.sign in their JSON form (proto-schemas/rpc). Pure.
 *
 * Writers add to out and return false when a text is not UTF-8. Readers return NULL, or the fault
 * of the text; their results are in the arena. */
#ifndef POSTBUS_CODEC_VERIFY_H
#define POSTBUS_CODEC_VERIFY_H

#include "libcommon/base/json.h"

enum { VERIFY_HASHES_MAX = 10, VERIFY_DROPS_MAX = 2000, VERIFY_HASH_BYTES = 32 };

/* A hash of the body that a signature in the header needs. */
struct verify_hash {
    bool relaxed;
    int64_t length, hashed; /* l=, -1: none; canonical bytes that were hashed, -1: unknown */
    struct slice digest;    /* SHA-256 */
};

struct verify_ask {
    struct slice id, client_ip, helo, mail_from, tls;
    bool smtputf8;
    struct slice header; /* of the message, as bytes */
    size_t hash_count;
    struct verify_hash hashes[VERIFY_HASHES_MAX];
};

bool verify_ask_write(const struct verify_ask *a, struct buf *out);
const char *verify_ask_read(struct arena *arena, struct slice text, struct verify_ask *out);

/* verifier.prefetch: the sender of a message that is about to arrive. */
struct prefetch_ask {
    struct slice client_ip, helo, mail_from;
};

bool prefetch_ask_write(const struct prefetch_ask *a, struct buf *out);
const char *prefetch_ask_read(struct arena *arena, struct slice text, struct prefetch_ask *out);
/* at: names the worker that has prefetched; its verb for the message is verifier.at.<at>.verify. */
bool prefetch_reply_write(struct slice at, struct buf *out);
const char *prefetch_reply_read(struct arena *arena, struct slice text, struct slice *at);

/* A range of header bytes that is removed. */
struct verify_drop {
    size_t offset, n;
};

/* The parts of the answer that the requester needs. */
struct verify_reply {
    struct slice disposition, enhanced, reason; /* NUL-terminated; disposition "" when it is
                                                   missing */
    struct slice headers;                       /* to be added at the top, each with CRLF */
    size_t drop_count;
    struct verify_drop *drops;
    struct slice dmarc_result, dmarc_from, organizational_domain; /* NUL-terminated, "" when there is no DMARC result */
    struct slice arc_cv;
    int64_t arc_sets;
    struct slice proofs; /* JSON: the answer as events carry it, without headers and drop */
};

const char *verify_reply_read(struct arena *arena, struct slice text, struct verify_reply *out);

struct sign_ask {
    struct slice id, domain, header, body_hash;
};

bool sign_ask_write(const struct sign_ask *a, struct buf *out);
const char *sign_ask_read(struct arena *arena, struct slice text, struct sign_ask *out);
/* The answer of verifier.sign and verifier.seal: fields to add at the top. */
bool sign_reply_write(struct slice headers, struct buf *out);
const char *sign_reply_read(struct arena *arena, struct slice text, struct slice *headers);

#endif
