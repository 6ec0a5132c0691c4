/* Writes JSON text straight into a buf, without a tree in between: for the messages that go with every mail. The caller
 * opens and closes objects and arrays in order; commas come by themselves. A name is one of our own constants; NULL
 * inside an array. */
#ifndef POSTBUS_BASE_JSON_WRITE_H
#define POSTBUS_BASE_JSON_WRITE_H

#include "libcommon/base/buf.h"

/* "{" or "[", as the value of `name`, as an array's element or, in an empty b, as the whole. */
void json_open(struct buf *b, const char *name, char bracket);
/* "}" or "]" */
void json_close(struct buf *b, char bracket);
/* Bytes that are not UTF-8 become "?". */
void json_text(struct buf *b, const char *name, struct slice value);
void json_number(struct buf *b, const char *name, int64_t value);
void json_flag(struct buf *b, const char *name, bool value);
void json_nothing(struct buf *b, const char *name); /* null */
void json_base64(struct buf *b, const char *name, struct slice bytes);
/* Whether a text would be written as it is. */
bool json_is_utf8(struct slice text);
/* A value that is JSON text already. */
void json_raw(struct buf *b, const char *name, struct slice json);

#endif
