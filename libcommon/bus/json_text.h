/* JSON text (RFC 8259) to and from jansson's values, at the speed of the line: jansson's own reader and writer take each character of a string through several
 * functions, which for a header block in base 64 costs as much as verifying its signatures. */
#ifndef POSTBUS_BUS_JSON_TEXT_H
#define POSTBUS_BUS_JSON_TEXT_H

#include <jansson.h>

#include "libcommon/base/buf.h"

enum { JSON_DEPTH_MAX = 64 };

/* The object or array that text is; NULL when it is anything else, and as json_loadb does: when a string is not UTF-8 or has U+0000, or an integer passes 64
 * bits. Nested deeper than JSON_DEPTH_MAX, or with a number of more than 400 characters, it is refused too. Of a name that comes twice the last counts. */
json_t *json_text_read(struct slice text);
/* Adds value's text to out, without white space; a value nested deeper than JSON_DEPTH_MAX is cut to null there. */
void json_text_write(const json_t *value, struct buf *out);

#endif
