/* Patterns of LIST and LSUB (RFC 9051 §6.3.9): "*" is anything, "%" anything without a "/". */
#ifndef POSTBUS_IMAPD_LIST_MATCH_H
#define POSTBUS_IMAPD_LIST_MATCH_H

#include "libcommon/base/slice.h"

/* In time that grows with pattern × name, however many wildcards there are. */
bool list_match(struct slice pattern, struct slice name);

#endif
