/* Header text for people: encoded words (RFC 2047) and other charsets to UTF-8. Pure. */
#ifndef POSTBUS_MAIL_ENCODED_WORD_H
#define POSTBUS_MAIL_ENCODED_WORD_H

#include "libcommon/base/buf.h"

/* Adds value to out as UTF-8: encoded words decoded, white space between two of them dropped, folds
 * made one space. A word that cannot be decoded is kept unchanged; bytes that are not UTF-8 become
 * U+FFFD; control characters become spaces. */
void encoded_word_decode(struct slice value, struct buf *out);
/* Adds text in this charset to out as UTF-8; bytes that are invalid in the charset become U+FFFD.
 * Returns false, and adds nothing, when the charset is unknown. */
bool charset_to_utf8(struct slice charset, struct slice text, struct buf *out);

#endif
