/* What the files of dkim.h and arc.h share. Private to them. */
#ifndef POSTBUS_TRUST_DKIM_PRIVATE_H
#define POSTBUS_TRUST_DKIM_PRIVATE_H

#include "libcommon/trust/dkim/dkim.h"
#include "libcommon/trust/dkim/dkim_header.h"

/* Lines for people, in an arena: at most `room` of them, each at most DKIM_STEP_BYTES long and of printable ASCII;
 * foreign bytes become "?". A NULL one takes nothing. */
enum { DKIM_STEP_BYTES = 800 };
struct dkim_steps {
    struct arena *arena;
    size_t room, count;
    const char **lines;
};
struct dkim_steps *dkim_steps_create(struct arena *arena, size_t room);
void dkim_step(struct dkim_steps *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What was compared with bh=. */
void dkim_step_body(struct dkim_steps *s, const struct dkim_signature *signature, const struct body_digest *digest);
/* Where the key was looked for and what was found. */
void dkim_step_key(struct dkim_steps *s, const struct dkim_signature *signature, const struct dkim_key *key,
                   const char *reason);
/* What of the header was hashed, and whether b= is its signature. */
void dkim_step_header(struct dkim_steps *s, const struct dkim_signature *signature, struct slice data,
                      const struct header_coverage *coverage, bool fits);

/* A header field that is folded as it is written: lines of at most 78 characters where words allow it (RFC 5322
 * §2.1.1). */
struct folded {
    struct buf *out;
    size_t column;
};
/* Adds a word, on a new line when this one has no room; `glue`: no space before it on the same line. */
void folded_add(struct folded *f, struct slice word, bool glue);
/* Adds base 64, cut where lines end. */
void folded_add_base64(struct folded *f, struct slice b64);
/* Adds a list parted by colons, folded behind them. */
void folded_add_list(struct folded *f, struct slice list);
/* The names to sign of this header (§5.4), parted by colons; arc: DKIM-Signature fields too (RFC 8617 §4.1.2), and
 * nothing over-signed, since the next hop may add. */
void dkim_names_to_sign(const struct header_index *x, bool arc, struct buf *out);

#endif
