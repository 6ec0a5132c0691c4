/* Tag lists, "a=b; c=d" (RFC 6376 §3.2): in DKIM signatures and keys, ARC fields, DMARC records,
 * MTA-STS and TLS-RPT records. */
#ifndef POSTBUS_TRUST_TAGS_H
#define POSTBUS_TRUST_TAGS_H

#include "libcommon/base/slice.h"

struct tag {
    struct slice name, value; /* both trimmed; folds inside the value stay */
};

/* Iterates over the tags: start with *rest = the list. 1: *tag is the next; 0: the end; -1: not a
 * tag list. */
int tag_next(struct slice *rest, struct tag *tag);
/* The value of the first tag of this name (case-sensitive, §3.2); p is NULL when there is none. */
struct slice tag_find(struct slice list, const char *name);
/* Whether a whole list is well-formed: names consist of letters, digits and "_", and no name occurs
 * twice (§3.2). */
bool tags_are_valid(struct slice list);

#endif
