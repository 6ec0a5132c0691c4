#include "libcommon/base/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/cost.h"

struct json_put json_put_begin(struct buf *out) {
    cost_add(COST_JSON_WRITTEN, 1);
    return (struct json_put){.out = out, .start = out->n};
}

/* Writes the text before a value: a comma, unless it is the first, and its name. */
static void put_name(struct json_put *j, const char *name) {
    struct buf *out = j->out;
    char last = out->n > j->start ? out->data[out->n - 1] : '[';
    if (last != '{' && last != '[' && last != ':') buf_add_char(out, ',');
    if (!name) return;
    size_t n = strlen(name);
    char *at = buf_reserve(out, n + 3);
    at[0] = '"';
    memcpy(at + 1, name, n);
    at[n + 1] = '"';
    at[n + 2] = ':';
    out->n += n + 3;
}

void json_put_object(struct json_put *j, const char *name) {
    put_name(j, name);
    buf_add_char(j->out, '{');
}

void json_put_array(struct json_put *j, const char *name) {
    put_name(j, name);
    buf_add_char(j->out, '[');
}

void json_put_end(struct json_put *j, char bracket) { buf_add_char(j->out, bracket); }

/* The length of the UTF-8 sequence at p (first byte beyond ASCII), or 0. */
static size_t sequence_length(const unsigned char *p, size_t left) {
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n) return 0;
    if (p[0] == 0xe0) low = 0xa0;
    if (p[0] == 0xed) high = 0x9f;
    if (p[0] == 0xf0) low = 0x90;
    if (p[0] == 0xf4) high = 0x8f;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return n;
}

bool json_is_utf8(struct slice bytes) {
    const unsigned char *p = (const unsigned char *)bytes.p;
    for (size_t i = 0; i < bytes.n;) {
        size_t n = p[i] < 0x80 ? 1 : sequence_length(p + i, bytes.n - i);
        if (!n) return false;
        i += n;
    }
    return true;
}

static void put_escape(struct buf *out, unsigned char c) {
    static const char letters[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    const char *at = c ? strchr(letters, c) : NULL;
    if (at) {
        char two[2] = {'\\', names[at - letters]};
        buf_add(out, two, 2);
    } else {
        char six[7];
        snprintf(six, sizeof six, "\\u%04x", c);
        buf_add(out, six, 6);
    }
}

static bool put_string(struct buf *out, struct slice text) {
    const unsigned char *p = (const unsigned char *)(text.p ? text.p : ""); /* an empty slice may point nowhere */
    size_t start = out->n, from = 0;
    buf_reserve(out, text.n + 2);
    buf_add_char(out, '"');
    for (size_t i = 0; i < text.n;) {
        if (p[i] >= 0x80) {
            size_t n = sequence_length(p + i, text.n - i);
            if (!n) {
                out->n = start;
                out->data[start] = '\0';
                return false;
            }
            i += n;
        } else if (p[i] < ' ' || p[i] == '"' || p[i] == '\\') {
            buf_add(out, p + from, i - from);
            put_escape(out, p[i]);
            from = ++i;
        } else {
            i++;
        }
    }
    buf_add(out, p + from, text.n - from);
    buf_add_char(out, '"');
    return true;
}

void json_put_text(struct json_put *j, const char *name, struct slice text) {
    put_name(j, name);
    if (put_string(j->out, text)) return;
    buf_add_str(j->out, "\"\"");
    j->failed = true;
}

void json_put_word(struct json_put *j, const char *name, const char *word) { json_put_text(j, name, slice_of(word)); }

void json_put_foreign(struct json_put *j, const char *name, struct slice bytes) {
    put_name(j, name);
    if (!put_string(j->out, bytes)) buf_add_str(j->out, "\"(not UTF-8)\"");
}

void json_put_base64(struct json_put *j, const char *name, struct slice bytes) {
    put_name(j, name);
    buf_add_char(j->out, '"');
    base64_encode(bytes, j->out);
    buf_add_char(j->out, '"');
}

void json_put_integer(struct json_put *j, const char *name, int64_t n) {
    char text[24];
    int length = snprintf(text, sizeof text, "%" PRId64, n);
    put_name(j, name);
    buf_add(j->out, text, (size_t)length);
}

void json_put_bool(struct json_put *j, const char *name, bool value) {
    put_name(j, name);
    buf_add_str(j->out, value ? "true" : "false");
}

void json_put_null(struct json_put *j, const char *name) {
    put_name(j, name);
    buf_add_str(j->out, "null");
}

void json_put_raw(struct json_put *j, const char *name, struct slice json) {
    put_name(j, name);
    buf_add_slice(j->out, json);
}

/* Reading */

yyjson_doc *json_take(struct slice text, yyjson_val **object) {
    cost_add(COST_JSON_READ, 1);
    yyjson_doc *doc = yyjson_read(text.p ? text.p : "", text.n, 0);
    *object = yyjson_doc_get_root(doc);
    if (yyjson_is_obj(*object)) return doc;
    yyjson_doc_free(doc);
    *object = NULL;
    return NULL;
}

struct slice json_take_text(yyjson_val *object, const char *name) {
    yyjson_val *value = yyjson_obj_get(object, name);
    return yyjson_is_str(value) ? slice_make(yyjson_get_str(value), yyjson_get_len(value)) : (struct slice){NULL, 0};
}

struct slice json_take_copy(struct arena *arena, yyjson_val *object, const char *name) {
    struct slice text = json_take_text(object, name);
    return slice_make(arena_copy(arena, text), text.n);
}

int64_t json_take_integer(yyjson_val *object, const char *name, int64_t fallback) {
    yyjson_val *value = yyjson_obj_get(object, name);
    if (yyjson_is_uint(value)) return yyjson_get_uint(value) <= INT64_MAX ? (int64_t)yyjson_get_uint(value) : fallback;
    return yyjson_is_sint(value) ? yyjson_get_sint(value) : fallback;
}

bool json_take_true(yyjson_val *object, const char *name) { return yyjson_is_true(yyjson_obj_get(object, name)); }

int json_take_base64(struct arena *arena, yyjson_val *object, const char *name, struct slice *out) {
    struct slice text = json_take_text(object, name);
    struct buf bytes = {0};
    if (!text.p) return -1;
    int error = base64_decode(text, false, &bytes);
    if (!error) *out = arena_slice(arena, buf_slice(&bytes));
    buf_free(&bytes);
    return error;
}
