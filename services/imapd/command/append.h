/* The arguments that APPEND and REPLACE share (RFC 3502, RFC 8508 §3.2). */
#ifndef POSTBUS_IMAPD_APPEND_H
#define POSTBUS_IMAPD_APPEND_H

#include "services/imapd/imapd.h"

struct append {
    struct slice name; /* of the folder */
    size_t count;
    struct mailbox_new messages[MAILBOX_APPEND_MAX];
    bool bad_name, empty, many; /* reasons of a NO */
};

/* Reads " mailbox" and messages, each with optional flags and date, up to the end of the command.
 * False: bad syntax. */
bool append_parse(struct session *s, struct parser *p, struct append *a);
/* Answers NO for what is well formed and cannot be done: true. */
bool append_refused(struct session *s, const struct append *a);

#endif
