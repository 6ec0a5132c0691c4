/* How a message goes onto the wire after DATA (RFC 5321 §4.5.2): pure, and independent of how the message is cut into
 * pieces.
 *
 * What comes out consists of lines that end with CRLF and nothing else: a CR or LF that stands alone in the message
 * becomes a CRLF (stored messages have none: smtpd refuses them), and every line that begins with a dot gets a second
 * one. So nothing inside a message can be taken for its end. */
#ifndef POSTBUS_DELIVERY_STUFFING_H
#define POSTBUS_DELIVERY_STUFFING_H

#include "libcommon/base/buf.h"

/* State between pieces: where the output stands. */
struct stuffing {
    bool in_line;  /* the line that is being written has begun */
    bool carriage; /* a CR was the last byte read; nothing is written for it yet */
};

/* A zeroed struct stuffing begins a message. Adds what `piece` becomes to out. */
void stuffing_add(struct stuffing *s, struct slice piece, struct buf *out);
/* Ends the message's last line where it has no end. The lone dot that ends DATA is the caller's to send. */
void stuffing_end(struct stuffing *s, struct buf *out);

#endif
