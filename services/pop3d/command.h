/* Parses one POP3 command line (RFC 1939 §3, RFC 2449 §4). Pure. */
#ifndef POSTBUS_POP3D_COMMAND_H
#define POSTBUS_POP3D_COMMAND_H

#include "libcommon/base/slice.h"

enum pop3_verb {
    POP3_UNKNOWN,
    POP3_CAPA,
    POP3_STLS,
    POP3_USER,
    POP3_PASS,
    POP3_AUTH,
    POP3_UTF8,
    POP3_LANG,
    POP3_STAT,
    POP3_LIST,
    POP3_UIDL,
    POP3_RETR,
    POP3_TOP,
    POP3_DELE,
    POP3_RSET,
    POP3_NOOP,
    POP3_QUIT,
};

struct pop3_command {
    enum pop3_verb verb;
    struct slice text;    /* all text after the keyword and one space: a password may contain
                             spaces */
    size_t count;         /* number of words in text, for commands with words: at most 3 are
                             counted */
    struct slice word[2]; /* the first two */
};

/* Reads a line (without CRLF). An unknown keyword, or a line with NUL, CR or LF in it, is
 * POP3_UNKNOWN. */
void pop3_parse(struct slice line, struct pop3_command *out);
/* A message number or count: 0 and *value, or -1. */
int pop3_number(struct slice word, uint32_t *value);

#endif
