/* Dot-stuffing of a message after DATA (RFC 5321 §4.5.2): pure, and independent of the division of
 * the message into pieces.
 *
 * The output consists of lines that end with CRLF: a single CR or LF in the message becomes a CRLF
 * (stored messages have none, because smtpd refuses them), and every line that begins with a dot
 * gets a second one. So no part of a message can be taken for its end. */
#ifndef POSTBUS_DELIVERY_STUFFING_H
#define POSTBUS_DELIVERY_STUFFING_H

#include "libcommon/base/buf.h"

/* The state between pieces. */
struct stuffing {
    bool in_line;  /* the line that is being written has begun */
    bool carriage; /* a CR was the last byte read; nothing is written for it yet */
};

/* A zeroed struct stuffing begins a message. Adds the output for `piece` to out. */
void stuffing_add(struct stuffing *s, struct slice piece, struct buf *out);
/* Ends the message's last line if it has no line end. The caller sends the final dot. */
void stuffing_end(struct stuffing *s, struct buf *out);

#endif
