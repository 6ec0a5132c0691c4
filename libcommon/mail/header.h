/* A message's header block, read in place: no copies, no allocation (RFC 5322 §2.2).
 *
 * A field is "Name: value CRLF", its value folded over lines that begin with a space or tab. Only
 * CRLF ends a line: a bare CR or LF is part of the value. A line that is not a field, such as "From
 * nobody …" of an mbox file, is skipped together with its continuations. Other programs continue
 * reading after it, so fields after it must not be hidden. */
#ifndef POSTBUS_MAIL_HEADER_H
#define POSTBUS_MAIL_HEADER_H

#include "libcommon/base/buf.h"

enum { HEADER_FIELDS_MAX = 2000 };

struct header_field {
    struct slice name;  /* as written, without white space before the colon */
    struct slice value; /* after the colon, folds included, without the last CRLF */
    struct slice raw;   /* the whole field with its last CRLF */
    size_t offset;      /* of raw in the header block */
};

/* The header block of a message: the bytes before the empty line, each field with its CRLF.
 * *body_at: the offset of the body. A message without an empty line is all header. */
struct slice header_block(struct slice message, size_t *body_at);

/* Walks the fields: start with *at = 0. 1: *field is the next one; 0: the end. */
int header_next(struct slice block, size_t *at, struct header_field *field);

/* The first (from the top) or last field of this name (case-insensitive). */
bool header_find(struct slice block, const char *name, struct header_field *field);
bool header_find_last(struct slice block, const char *name, struct header_field *field);
/* How many fields have this name. */
size_t header_count(struct slice block, const char *name);

/* Adds the value unfolded (each CRLF before white space removed, RFC 5322 §2.2.3) and trimmed to
 * out. */
void header_unfold(struct slice value, struct buf *out);

#endif
