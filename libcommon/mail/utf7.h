/* Modified UTF-7, the encoding of mailbox names in IMAP4rev1 and in Maildirs (RFC 3501 §5.1.3). Pure functions. */
#ifndef POSTBUS_MAIL_UTF7_H
#define POSTBUS_MAIL_UTF7_H

#include "libcommon/base/buf.h"

/* Adds s, which is UTF-8, to out as modified UTF-7. False (with out unchanged) when s is not
 * UTF-8. */
bool utf7_encode(struct slice s, struct buf *out);
/* Adds s, which is modified UTF-7, to out as UTF-8. False (with out unchanged) when s is not in
 * canonical form: 8-bit bytes, an ASCII character in base 64, bits left over, a lone surrogate. */
bool utf7_decode(struct slice s, struct buf *out);
/* Whether s is UTF-8 (RFC 3629): no overlong form, no surrogate. */
bool utf8_is_valid(struct slice s);

#endif
