/* The extensions of this server: what CAPABILITY announces (RFC 9051 §7.2.2), and where each one
 * is. An extension gets its row when all of it works. */
#ifndef POSTBUS_IMAPD_EXTENSIONS_H
#define POSTBUS_IMAPD_EXTENSIONS_H

#include "libcommon/base/buf.h"

/* The states of a session in which an extension is announced. */
enum extension_state {
    EXTENSION_PLAIN = 1, /* before STARTTLS */
    EXTENSION_TLS = 2,   /* before the login */
    EXTENSION_LOGGED_IN = 4,
    EXTENSION_ALWAYS = 7,
};

struct extension {
    const char *name;
    unsigned states;
    const char *file; /* below services/imapd/: the first one to read */
};

/* Ends with a row without a name. */
extern const struct extension extensions[];

/* Adds the names for this state, separated by spaces. Pure. */
void extensions_write(enum extension_state state, struct buf *out);

#endif
