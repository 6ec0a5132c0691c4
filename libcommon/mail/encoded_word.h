/* Header text for people: encoded words (RFC 2047) and other charsets to UTF-8. Pure. */
#ifndef POSTBUS_MAIL_ENCODED_WORD_H
#define POSTBUS_MAIL_ENCODED_WORD_H

#include "libcommon/base/buf.h"

/* Adds value to out as UTF-8: encoded words decoded, white space between two of them dropped, folds made one space. A
 * word that cannot be decoded stays as it stands; bytes that are no UTF-8 become U+FFFD; controls become spaces. */
void encoded_word_decode(struct slice value, struct buf *out);
/* Adds text in this charset to out as UTF-8; what the charset does not allow becomes U+FFFD. False, adding nothing,
 * when the charset is unknown. */
bool charset_to_utf8(struct slice charset, struct slice text, struct buf *out);

#endif
