/* Members of JSON objects of rare requests and reports (jansson). Frequent messages have typed
 * codecs (libcommon/codec). */
#ifndef POSTBUS_BASE_MEMBER_H
#define POSTBUS_BASE_MEMBER_H

#include <jansson.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/slice.h"

/* The text of a member; "" when it is missing or not a text. object may be NULL. */
const char *member_text(const json_t *object, const char *name);
struct slice member_slice(const json_t *object, const char *name);
/* The same, but NULL when it is missing or not a text. */
const char *member_text_or_null(const json_t *object, const char *name);
/* Decodes a member in base 64 into arena; 0 or -1 (missing, not base 64). */
int member_bytes(struct arena *arena, const json_t *object, const char *name, struct slice *out);
/* Sets a member to the base 64 of bytes. */
void member_set_base64(json_t *object, const char *name, struct slice bytes);

#endif
