/* The beginning of a message's text, for lists of messages (RFC 8970). Pure. */
#ifndef POSTBUS_MAIL_PREVIEW_H
#define POSTBUS_MAIL_PREVIEW_H

#include "libcommon/mail/mime.h"

enum { PREVIEW_CHARACTERS = 200, PREVIEW_READ_MAX = 16 * 1024 };

/* Adds the first PREVIEW_CHARACTERS characters of the first text part that is not an attachment, in
 * UTF-8: white space and control characters made single spaces, tags of HTML left out, lines that
 * quote another message left out. Reads at most PREVIEW_READ_MAX bytes of the part. */
void preview_build(const struct mime *m, struct buf *out);

#endif
