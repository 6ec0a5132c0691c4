#include "libcommon/base/member.h"

#include "libcommon/base/base64.h"

const char *member_text_or_null(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

const char *member_text(const json_t *object, const char *name) {
    const char *text = member_text_or_null(object, name);
    return text ? text : "";
}

struct slice member_slice(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value)) : SLICE("");
}

int member_bytes(struct arena *arena, const json_t *object, const char *name, struct slice *out) {
    struct buf bytes = {0};
    if (!json_is_string(json_object_get(object, name))) return -1;
    int error = base64_decode(member_slice(object, name), false, &bytes);
    if (!error) *out = arena_slice(arena, buf_slice(&bytes));
    buf_free(&bytes);
    return error;
}

void member_set_base64(json_t *object, const char *name, struct slice bytes) {
    struct buf text = {0};
    base64_encode(bytes, &text);
    json_object_set_new(object, name, json_stringn_nocheck(buf_str(&text), text.n));
    buf_free(&text);
}
