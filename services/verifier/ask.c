/* What every request of this service begins and ends with. */
#include "libcommon/base/base64.h"
#include "services/verifier/verifier.h"

bool verifier_begin(struct verifier *v, struct bus_call *call) {
    if (v->requests >= VERIFIER_REQUESTS_MAX) {
        bus_refuse(call, "busy", "too many requests in flight");
        return false;
    }
    v->requests++;
    return true;
}

void verifier_end(struct verifier *v) {
    v->requests--;
    if (v->draining && v->requests == 0) service_drained(v->worker);
}

struct slice ask_text(const json_t *ask, const char *name) {
    const json_t *value = json_object_get(ask, name);
    return json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value)) : SLICE("");
}

int ask_bytes(struct arena *arena, const json_t *ask, const char *name, struct slice *out) {
    const json_t *value = json_object_get(ask, name);
    struct buf bytes = {0};
    if (!json_is_string(value)) return -1;
    int error = base64_decode(slice_make(json_string_value(value), json_string_length(value)), false, &bytes);
    if (!error) *out = arena_slice(arena, buf_slice(&bytes));
    buf_free(&bytes);
    return error;
}
