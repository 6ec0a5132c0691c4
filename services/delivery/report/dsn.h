/* The text of delivery status notifications (RFC 3461 §6, RFC 3464, RFC 6533): pure. A report has
 * one kind: failed, delayed, delivered, or relayed to a server that sends no such reports. */
#ifndef POSTBUS_DELIVERY_DSN_H
#define POSTBUS_DELIVERY_DSN_H

#include "libcommon/codec/envelope.h"

/* The id of the report of this kind on these recipients of a message: always the same for the same
 * input, so that a report that is made twice is one message. */
void dsn_id(const struct envelope *e, enum rcpt_report kind, size_t count, const size_t indexes[],
            char out[ULID_BYTES]);

/* Whether the report to this sender must go as SMTPUTF8 (RFC 6531): the address needs it. */
bool dsn_needs_smtputf8(const struct envelope *e);

/* The report's whole text, lines ended by CRLF. original: the message; its header is included, or
 * all of it with RET=FULL if it is not too large. Empty if the body no longer exists. */
void dsn_text(const char *hostname, const char *report_id, const struct envelope *e, enum rcpt_report kind,
              size_t count, const size_t indexes[], struct slice original, int64_t now_ms, struct buf *out);

/* Adds text with its xtext "+41" decoded (RFC 3461 §4); unchanged if the result would not be
 * printable ASCII. */
void dsn_add_xtext(struct buf *out, struct slice xtext);
/* Adds a typed address (RFC 3464 §2.1.2): "rfc822; a@b", or for one that is not ASCII "utf-8; …"
 * (RFC 6533 §3), in UTF-8 where `global`, else with \x{…} for what is not ASCII. */
void dsn_add_address(struct buf *out, struct slice address, bool global);

#endif
