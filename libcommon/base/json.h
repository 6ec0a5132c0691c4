/* JSON of frequent messages: written directly into a buffer, read with yyjson. (Rare requests and
 * reports use jansson.)
 *
 *   struct json_put j = json_put_begin(&out);
 *   json_put_object(&j, NULL);
 *   json_put_text(&j, "user", user);
 *   json_put_end(&j, '}');
 *   if (j.failed) …
 *
 * Commas are added automatically. name: the member's name, a plain ASCII constant; NULL in an array
 * and at the top level. Text that is not UTF-8 cannot be JSON (RFC 8259 §8.1): "" is written in its
 * place, and `failed` is set. json_put_foreign never fails. */
#ifndef POSTBUS_BASE_JSON_H
#define POSTBUS_BASE_JSON_H

#include <yyjson.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

struct json_put {
    struct buf *out;
    size_t start; /* of this text in out */
    bool failed;
};

/* Adds to out. Counts as one JSON text written (base/cost.h). */
struct json_put json_put_begin(struct buf *out);
void json_put_object(struct json_put *j, const char *name);
void json_put_array(struct json_put *j, const char *name);
/* bracket: '}' or ']'. */
void json_put_end(struct json_put *j, char bracket);
void json_put_text(struct json_put *j, const char *name, struct slice text);
/* A C string; NULL gives "". */
void json_put_word(struct json_put *j, const char *name, const char *word);
/* Text from outside: "(not UTF-8)" is written in place of bytes that are not UTF-8. */
void json_put_foreign(struct json_put *j, const char *name, struct slice bytes);
/* Base 64 (RFC 4648 §4). */
void json_put_base64(struct json_put *j, const char *name, struct slice bytes);
void json_put_integer(struct json_put *j, const char *name, int64_t n);
void json_put_bool(struct json_put *j, const char *name, bool value);
void json_put_null(struct json_put *j, const char *name);
/* JSON text, as it is. */
void json_put_raw(struct json_put *j, const char *name, struct slice json);

/* Whether bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
bool json_is_utf8(struct slice bytes);

/* Reads a text that is an object; NULL when it is not one. The caller frees it with
 * yyjson_doc_free. Counts as one JSON text read. Slices taken from it are valid until then. */
yyjson_doc *json_take(struct slice text, yyjson_val **object);
/* The text of a member; {NULL, 0} when it is missing or not a text. */
struct slice json_take_text(yyjson_val *object, const char *name);
/* The same in arena, NUL-terminated; "" when it is missing or not a text. */
struct slice json_take_copy(struct arena *arena, yyjson_val *object, const char *name);
/* A member's integer, or fallback. */
int64_t json_take_integer(yyjson_val *object, const char *name, int64_t fallback);
bool json_take_true(yyjson_val *object, const char *name);
/* Decodes a member in base 64 into arena: 0, or -1 (missing, not base 64). */
int json_take_base64(struct arena *arena, yyjson_val *object, const char *name, struct slice *out);

#endif
