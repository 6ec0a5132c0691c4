/* SMTP commands as pure functions over one line without its CRLF (RFC 5321 §4.1). */
#ifndef POSTBUS_SMTPD_PARSE_H
#define POSTBUS_SMTPD_PARSE_H

#include "libcommon/base/buf.h"

enum smtp_verb {
    SMTP_UNKNOWN,
    SMTP_EHLO,
    SMTP_HELO,
    SMTP_MAIL,
    SMTP_RCPT,
    SMTP_DATA,
    SMTP_BDAT,
    SMTP_RSET,
    SMTP_NOOP,
    SMTP_QUIT,
    SMTP_VRFY,
    SMTP_EXPN,
    SMTP_HELP,
    SMTP_STARTTLS,
    SMTP_AUTH
};

/* The verb and the rest of the line, without white space around it. */
enum smtp_verb smtp_parse_verb(struct slice line, struct slice *argument);

/* Reads "FROM:<path>" or "TO:<path>" (keyword without colon) from *argument, which then has the
 * rest: the parameters. *address: the mailbox without its source route (RFC 5321 §3.3, appendix C:
 * ignored), as it stands; empty for "<>". White space after the colon is tolerated, as clients send
 * it. 0; SMTP_PATH_TOO_LONG when the path, its local part or its domain is over the limits of
 * §4.5.3.1; SMTP_PATH_INVALID when it is not a path: no angle brackets, a local part that is
 * neither a dot-string nor quoted, a bad domain or address literal. 8-bit bytes must be UTF-8 (RFC
 * 6531). */
enum { SMTP_PATH_INVALID = -1, SMTP_PATH_TOO_LONG = -2 };
int smtp_parse_path(struct slice *argument, const char *keyword, struct slice *address);
bool smtp_is_ascii(struct slice s);

/* Walks "KEY=VALUE KEY …" (§4.1.2 esmtp-param): 1 with *key and *value (empty without "="), 0 at
 * the end, -1 when malformed. */
int smtp_next_parameter(struct slice *rest, struct slice *key, struct slice *value);

/* Whether s is a domain or address literal as EHLO takes (§4.1.1.1), leniently: printable, no
 * spaces, at most 255 bytes. */
bool smtp_is_hello_name(struct slice s);

/* The text of a message after DATA (§4.5.2): removes dot-stuffing, and ends only at CRLF "."
 * CRLF. */
struct smtp_text {
    enum { SMTP_LINE_START, SMTP_IN_LINE, SMTP_AFTER_CR, SMTP_AFTER_DOT, SMTP_AFTER_DOT_CR } state;
    bool ended;
    bool bare; /* it has a CR or LF that is not a line end (§2.3.8) */
    bool nul;  /* a NUL was in it */
};
/* Reads a piece of any size and adds the message's bytes to out; returns the number of bytes that
 * were read: all, or up to the end of the message. */
size_t smtp_take_text(struct smtp_text *t, struct slice piece, struct buf *out);
/* The same checks without dots and end, for BDAT chunks (RFC 3030). */
void smtp_check_text(struct smtp_text *t, struct slice piece);

#endif
