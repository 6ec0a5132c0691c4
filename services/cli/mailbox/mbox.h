/* mbox files: "From " lines between messages, ">" before each line that would look like one (mboxrd), lines that end
 * with LF (RFC 4155). Pure: a file is a slice, for instance of a mapped file, however large.
 *
 * Flags are in the first fields of a message, which are not part of it: Status, X-Status, X-Keywords, and
 * X-Postbus-Raw, the size of a message that these rules would change (a bare LF, or no CRLF at its end) and that
 * follows unchanged. Such fields elsewhere in a header, as other programs leave them, stay in the message and are read
 * as well. */
#ifndef POSTBUS_CLI_MBOX_H
#define POSTBUS_CLI_MBOX_H

#include "libcommon/base/buf.h"
#include "services/cli/mailbox/maildir.h"

struct mbox_message {
    struct slice sender; /* of the "From " line */
    int64_t date;        /* of the "From " line, taken as UTC; 0: none that can be read */
    struct slice text;   /* as in the file, without the empty line after it */
};

/* The next message of a file; start with *at = 0. False: the end. Bytes before the first "From " line are skipped. */
bool mbox_next(struct slice file, size_t *at, struct mbox_message *out);

/* Adds the message as it is on the wire to *message; flags: enum maildir_flag; its keywords, separated by spaces, are
 * added to *keywords. */
void mbox_unpack(const struct mbox_message *m, struct buf *message, uint32_t *flags, struct buf *keywords);

/* Adds a message with its "From " line and the empty line after it. date: seconds since 1970; keywords: separated by
 * spaces. mbox_unpack() then gives exactly these values. */
void mbox_pack(struct slice message, struct slice sender, int64_t date, uint32_t flags, struct slice keywords,
               struct buf *out);

#endif
