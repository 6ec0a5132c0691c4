/* Patterns of LIST and LSUB (RFC 9051 §6.3.9): "*" matches any text, "%" any text without "/". */
#ifndef POSTBUS_IMAPD_LIST_MATCH_H
#define POSTBUS_IMAPD_LIST_MATCH_H

#include "libcommon/base/slice.h"

/* The time is proportional to pattern × name, for any number of wildcards. */
bool list_match(struct slice pattern, struct slice name);

#endif
