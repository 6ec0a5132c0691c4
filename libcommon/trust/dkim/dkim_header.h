/* Header fields for signatures: found by name from the bottom up (RFC 6376 §5.4.2), and their
 * canonical forms (§3.4.1, §3.4.2). The time for a signature depends only on the number of bytes of
 * the header and of its h=, not on the names and the number of fields. */
#ifndef POSTBUS_TRUST_DKIM_HEADER_H
#define POSTBUS_TRUST_DKIM_HEADER_H

#include "libcommon/base/buf.h"

/* The fields of a header block in the order of their names. The block must outlive it. */
struct header_index;
struct header_index *header_index_create(struct slice header);
void header_index_destroy(struct header_index *x); /* NULL is allowed */
/* How many fields have this name (case-insensitive). */
size_t header_index_count(const struct header_index *x, struct slice name);

/* The coverage of a signature, for explanations. */
struct header_coverage {
    size_t present; /* names in h= with a field */
    size_t absent;  /* names in h= without a field: over-signed, so that none can be added (§5.4) */
};
/* Adds the signed data of the header: the fields named in h, separated by colons, where each name
 * means the lowest field that is not yet taken, or nothing when there is none (§5.4.2); then the
 * signature field itself with an empty b=, without its last CRLF (§3.7). A name in h= never means
 * the signature's own field (§3.5). coverage: NULL is allowed. */
void dkim_signed_header(struct header_index *x, struct slice h, bool relaxed, struct slice signature_raw,
                        struct buf *out, struct header_coverage *coverage);

/* Adds the canonical form of one whole field with its CRLF, which is added where it is missing. */
void dkim_canonical_field(struct slice raw, bool relaxed, struct buf *out);
/* Adds the canonical form of a signature field with the value of its b= tag taken out, without the
 * last CRLF (§3.7). */
void dkim_field_without_b(struct slice raw, bool relaxed, struct buf *out);

#endif
