/* Checks the bodies of requests against a table of their fields. */
#include <stdio.h>

#include "services/admin/admin.h"

static void complain(json_t **errors, const char *name, const char *detail) {
    char pointer[128];
    size_t n = (size_t)snprintf(pointer, sizeof pointer, "#/");
    for (const char *c = name; *c && n + 3 < sizeof pointer; c++) { /* RFC 6901 §3 */
        if (*c == '~' || *c == '/') {
            pointer[n++] = '~';
            pointer[n++] = *c == '~' ? '0' : '1';
        } else {
            pointer[n++] = *c;
        }
    }
    pointer[n] = 0;
    if (!*errors) *errors = json_array();
    json_t *error = json_pack("{s:s,s:s}", "pointer", pointer, "detail", detail);
    if (!error)
        error = json_pack("{s:s,s:s}", "pointer", "#", "detail", detail); /* the name was cut inside a character */
    json_array_append_new(*errors, error);
}

static bool all_texts(const json_t *list) {
    size_t i;
    json_t *each;
    json_array_foreach(list, i, each) if (!json_is_string(each)) return false;
    return json_is_array(list) && json_array_size(list) > 0;
}

json_t *fields_check(const json_t *body, const struct field *fields, size_t count) {
    json_t *errors = NULL;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(body, fields[i].name);
        if (!value) {
            if (fields[i].required) complain(&errors, fields[i].name, "this field is required");
        } else if (fields[i].type == FIELD_TEXT && (!json_is_string(value) || json_string_length(value) == 0)) {
            complain(&errors, fields[i].name, "a text that is not empty is expected");
        } else if (fields[i].type == FIELD_BYTES && (!json_is_integer(value) || json_integer_value(value) < 0)) {
            complain(&errors, fields[i].name, "a whole number of bytes is expected, 0 for no quota");
        } else if (fields[i].type == FIELD_NUMBER && !json_is_integer(value)) {
            complain(&errors, fields[i].name, "a whole number is expected");
        } else if (fields[i].type == FIELD_TEXTS && !all_texts(value)) {
            complain(&errors, fields[i].name, "a list of texts that is not empty is expected");
        } else if (fields[i].type == FIELD_OBJECT && !json_is_object(value)) {
            complain(&errors, fields[i].name, "an object is expected");
        } else if (fields[i].type == FIELD_BOOL && !json_is_boolean(value)) {
            complain(&errors, fields[i].name, "true or false is expected");
        }
    }
    for (void *at = json_object_iter((json_t *)(uintptr_t)body); at;
         at = json_object_iter_next((json_t *)(uintptr_t)body, at)) {
        bool known = false;
        for (size_t i = 0; i < count; i++) known = known || strcmp(fields[i].name, json_object_iter_key(at)) == 0;
        if (!known) complain(&errors, json_object_iter_key(at), "unknown field");
        if (json_array_size(errors) >= 20) break;
    }
    return errors;
}
