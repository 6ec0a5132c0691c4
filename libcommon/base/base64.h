/* Base 64 (RFC 4648 §4, with padding). */
#ifndef POSTBUS_BASE_BASE64_H
#define POSTBUS_BASE_BASE64_H

#include "libcommon/base/buf.h"

/* Adds the base 64 of bytes to out. */
void base64_encode(struct slice bytes, struct buf *out);
/* Decodes text and adds the bytes to out. With `loose`, white space (space, tab, CR, LF) is
 * skipped, as DKIM tags and MIME bodies need. Returns 0, or -1 when text is not base 64 (out is
 * then unchanged). */
int base64_decode(struct slice text, bool loose, struct buf *out);

#endif
