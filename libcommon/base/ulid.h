/* The id of a message: a ULID, which is 48 bits of wall-clock milliseconds and 80 random bits as 26
 * Crockford base-32 characters. Ids sort by their time of creation, to the millisecond. */
#ifndef POSTBUS_BASE_ULID_H
#define POSTBUS_BASE_ULID_H

#include "libcommon/base/slice.h"

enum { ULID_LENGTH = 26, ULID_BYTES = 27 };

/* A new id, NUL-terminated. Safe on any thread. */
void ulid_create(char out[ULID_BYTES]);
/* Whether s is a ULID in its canonical upper-case form. */
bool ulid_is_valid(struct slice s);

#endif
