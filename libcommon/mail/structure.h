/* The description of a message in IMAP: ENVELOPE, BODY, BODYSTRUCTURE (RFC 9051 §7.5.2, RFC 3501
 * §7.4.2). Pure.
 *
 * Strings are quoted where they are ASCII without CR, LF, NUL, else a literal ("{3}" CRLF and the
 * bytes); NUL bytes are left out. Header text is written as in the message, unfolded, with encoded
 * words not decoded. */
#ifndef POSTBUS_MAIL_STRUCTURE_H
#define POSTBUS_MAIL_STRUCTURE_H

#include "libcommon/mail/mime.h"

enum { STRUCTURE_ADDRESSES_MAX = 10000 }; /* in one field; more are left out */

/* Adds the envelope of a header block, in its parentheses. Sender and Reply-To default to From. */
void structure_envelope(struct slice header, struct buf *out);
/* Adds BODY, or with extended BODYSTRUCTURE, in its parentheses. A multipart without parts is shown
 * with one empty text/plain. */
void structure_body(const struct mime *m, bool extended, struct buf *out);
/* Adds what structure_body(m, false) writes, from what structure_body(m, true) wrote. False, and adds
 * nothing, when it is malformed. */
bool structure_basic(struct slice bodystructure, struct buf *out);
/* Adds s as an IMAP string (quoted or literal), s with n 0 as "". */
void structure_string(struct slice s, struct buf *out);

#endif
