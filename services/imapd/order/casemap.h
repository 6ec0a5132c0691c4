/* The collation i;unicode-casemap (RFC 5051): what SORT and THREAD compare strings by
 * (I18NLEVEL=1, RFC 5255 §4.4). Pure. */
#ifndef POSTBUS_IMAPD_CASEMAP_H
#define POSTBUS_IMAPD_CASEMAP_H

#include "libcommon/base/buf.h"

/* Adds UTF-8 text in the form whose bytes are compared: each character in title case, and then
 * decomposed. Bytes that are not UTF-8 become U+FFFD. */
void unicode_casemap(struct slice utf8, struct buf *out);

#endif
