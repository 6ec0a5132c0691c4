/* The header of a message as its signatures see it: fields found by name from the bottom up (RFC 6376 §5.4.2) and their
 * canonical forms (§3.4.1, §3.4.2). Each signature costs a time that grows with the bytes of the header and of its h=
 * alone, whatever the fields are called and however many there are. */
#ifndef POSTBUS_TRUST_DKIM_HEADER_H
#define POSTBUS_TRUST_DKIM_HEADER_H

#include "libcommon/base/buf.h"

/* The fields of a header block in the order of their names. The block must outlive it. */
struct header_index;
struct header_index *header_index_create(struct slice header);
void header_index_destroy(struct header_index *x); /* NULL is allowed */
/* How many fields have this name (case-insensitive). */
size_t header_index_count(const struct header_index *x, struct slice name);

/* What a signature covers, for people. */
struct header_coverage {
    size_t present; /* names of h= that stand for a field */
    size_t absent;  /* names that stand for none: over-signed, so that none can be added (§5.4) */
};
/* Adds what is signed of the header: the fields that the list h names, parted by colons, each name standing for the
 * lowest field not yet taken and for nothing when there is none (§5.4.2); then the signature field itself with its b=
 * emptied, without its last CRLF (§3.7). The signature's own field is never one of those that its h= names (§3.5).
 * coverage: NULL is allowed. */
void dkim_signed_header(struct header_index *x, struct slice h, bool relaxed, struct slice signature_raw,
                        struct buf *out, struct header_coverage *coverage);

/* Adds the canonical form of one whole field with its CRLF, which is added where it is missing. */
void dkim_canonical_field(struct slice raw, bool relaxed, struct buf *out);
/* Adds the canonical form of a signature field with the value of its b= tag taken out, without the last CRLF (§3.7). */
void dkim_field_without_b(struct slice raw, bool relaxed, struct buf *out);

#endif
