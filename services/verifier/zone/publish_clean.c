/* Finds zones without a domain. A mistake here leaves a domain without DNS, so implausible input is
 * refused: an empty list, or a list that lost most of its names. */
#include "services/verifier/zone/publish.h"

json_t *publish_choose_gone(const json_t *hosted, const json_t *catalog, json_t *seen, int64_t now_ms, int64_t grace_ms,
                            const char **reason) {
    size_t i, missed = 0;
    const json_t *zone;
    const char *name;
    void *safe;
    json_t *value, *gone = json_array(), *there = json_object();
    *reason = NULL;
    json_array_foreach(catalog, i, zone) {
        name = json_string_value(zone);
        if (!name || json_object_get(hosted, name)) continue;
        missed++;
        json_object_set_new(there, name, json_true());
        if (!json_object_get(seen, name)) json_object_set_new(seen, name, json_integer(now_ms));
        if (now_ms - json_integer_value(json_object_get(seen, name)) >= grace_ms)
            json_array_append_new(gone, json_string(name));
    }
    json_object_foreach_safe(seen, safe, name, value) { /* hosted again, or removed from the
                                                           catalog: the earlier observation is
                                                           dropped */
        (void)value;
        if (!json_object_get(there, name)) json_object_del(seen, name);
    }
    json_decref(there);
    if (json_object_size(hosted) == 0)
        *reason = "the list of hosted domains is empty";
    else if (missed > json_object_size(hosted))
        *reason = "more zones would be removed than domains are hosted";
    if (!*reason) return gone;
    json_decref(gone);
    return NULL;
}
