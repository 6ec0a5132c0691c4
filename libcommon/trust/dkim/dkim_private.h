/* Shared declarations of the files that implement dkim.h and arc.h; private to them. */
#ifndef POSTBUS_TRUST_DKIM_PRIVATE_H
#define POSTBUS_TRUST_DKIM_PRIVATE_H

#include "libcommon/trust/dkim/dkim.h"
#include "libcommon/trust/dkim/dkim_header.h"

/* Lines of explanation in an arena: at most `room` of them, each of at most DKIM_STEP_BYTES
 * printable ASCII characters; other bytes become "?". A NULL pointer records nothing. */
enum { DKIM_STEP_BYTES = 800 };
struct dkim_steps {
    struct arena *arena;
    size_t room, count;
    const char **lines;
};
struct dkim_steps *dkim_steps_create(struct arena *arena, size_t room);
void dkim_step(struct dkim_steps *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The comparison with bh=. */
void dkim_step_body(struct dkim_steps *s, const struct dkim_signature *signature, const struct body_digest *digest);
/* The name at which the key was looked up, and the result. */
void dkim_step_key(struct dkim_steps *s, const struct dkim_signature *signature, const struct dkim_key *key,
                   const char *reason);
/* The hashed header fields, and whether b= is their signature. */
void dkim_step_header(struct dkim_steps *s, const struct dkim_signature *signature, struct slice data,
                      const struct header_coverage *coverage, bool fits);

/* A header field that is folded while it is written: lines of at most 78 characters where the
 * length of words allows it (RFC 5322 §2.1.1). */
struct folded {
    struct buf *out;
    size_t column;
};
/* Adds a word, on a new line when this one has no room; `glue`: no space before it on the same
 * line. */
void folded_add(struct folded *f, struct slice word, bool glue);
/* Adds base 64, cut where lines end. */
void folded_add_base64(struct folded *f, struct slice b64);
/* Adds a list separated by colons, folded after them. */
void folded_add_list(struct folded *f, struct slice list);
/* The names of the header fields to sign (§5.4), separated by colons. arc: also DKIM-Signature
 * fields (RFC 8617 §4.1.2), and no over-signing, because the next hop may add fields. */
void dkim_names_to_sign(const struct header_index *x, bool arc, struct buf *out);

#endif
