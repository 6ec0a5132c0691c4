/* SMTP replies (RFC 5321 §4.2) gathered line by line: pure functions. */
#ifndef POSTBUS_DELIVERY_REPLY_H
#define POSTBUS_DELIVERY_REPLY_H

#include "libcommon/base/buf.h"

struct smtp_reply {
    int code;
    char enhanced[16]; /* of the first line that has one (RFC 2034), else made from the code:
                          "4.0.0" */
    struct buf text;   /* all lines' text, joined by "\n", bounded */
    size_t lines;
    bool given_enhanced;
};

void smtp_reply_reset(struct smtp_reply *r);
/* Adds a line without CRLF: 1 when the reply is complete, 0 when more lines follow, -1 when this is
 * not a reply. */
int smtp_reply_add(struct smtp_reply *r, struct slice line);
/* Whether a whole EHLO reply offers this extension; *value: its parameters. */
bool smtp_reply_offers(const struct smtp_reply *r, const char *extension, struct slice *value);
/* The reply as one line for people: "450 4.2.0 greylisted". Always valid UTF-8. */
void smtp_reply_text(const struct smtp_reply *r, struct buf *out);

#endif
