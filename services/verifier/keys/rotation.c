#include "services/verifier/keys/rotation.h"

#include <stdio.h>
#include <time.h>

#include "libcommon/trust/tags.h"

int64_t rotation_time(const char *rfc3339) {
    struct tm tm = {0};
    int ms = 0, end = 0;
    if (!rfc3339 || sscanf(rfc3339, "%4d-%2d-%2dT%2d:%2d:%2d%n.%3d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                           &tm.tm_min, &tm.tm_sec, &end, &ms) < 6)
        return 0;
    if (end == 0 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_year < 1970) return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (int64_t)timegm(&tm) * 1000 + ms;
}

static int64_t time_of(const json_t *key, const char *name) {
    return rotation_time(json_string_value(json_object_get(key, name)));
}

static bool state_is(const json_t *key, const char *state) {
    const char *has = json_string_value(json_object_get(key, "state"));
    return strcmp(has ? has : "active", state) == 0;
}

/* The pause between queries for an unpublished key grows: its operator may take days, and each
 * query has a cost. */
static int64_t next_look(const json_t *key, int64_t now) {
    int64_t pause = (now - time_of(key, "changed")) / 10;
    if (pause < ROTATION_LOOK_MIN_MS) pause = ROTATION_LOOK_MIN_MS;
    return now + (pause < ROTATION_LOOK_MAX_MS ? pause : ROTATION_LOOK_MAX_MS);
}

static void sooner(int64_t *at, int64_t when) {
    if (when < *at) *at = when;
}

struct rotation rotation_next(const json_t *keys, const struct rotation_policy *policy, int64_t now) {
    struct rotation r = {.step = ROTATION_WAIT, .at_ms = now + ROTATION_LOOK_MAX_MS};
    json_t *gone = json_array(), *key;
    size_t i;
    bool pending = false, look = false;
    int64_t newest = 0;
    json_array_foreach((json_t *)(uintptr_t)keys, i, key) {
        if (state_is(key, "retired")) {
            int64_t until = time_of(key, "changed") + policy->retired_ms;
            if (until <= now)
                json_array_append(gone, json_object_get(key, "selector"));
            else
                sooner(&r.at_ms, until);
        } else if (state_is(key, "published")) {
            int64_t ready = time_of(key, "ready");
            bool urgent = json_is_true(json_object_get(key, "urgent"));
            pending = true;
            if (ready > now && !urgent)
                sooner(&r.at_ms, ready);
            else
                look = true, sooner(&r.at_ms, next_look(key, now));
        } else {
            int64_t since = time_of(key, "changed");
            if (since > newest) newest = since;
        }
    }
    if (json_array_size(gone)) {
        r.step = ROTATION_REMOVE;
        r.selectors = gone;
        return r;
    }
    json_decref(gone);
    if (look) {
        r.step = ROTATION_LOOK;
    } else if (!pending && policy->rotate_ms && json_array_size(keys)) {
        if (newest + policy->rotate_ms <= now)
            r.step = ROTATION_MAKE;
        else
            sooner(&r.at_ms, newest + policy->rotate_ms);
    }
    return r;
}

/* Equal but for white space, which may stand anywhere in p= (RFC 6376 §3.6.1). */
static bool same_base64(struct slice has, const char *want) {
    for (size_t i = 0; i < has.n; i++) {
        if (strchr(" \t\r\n", has.p[i])) continue;
        if (has.p[i] != *want) return false;
        want++;
    }
    return *want == '\0';
}

bool rotation_record_fits(const struct answer *answer, const char *algorithm, const char *public_b64) {
    if (answer->status != ANSWER_OK || answer->count != 1 || !*public_b64) return false;
    struct slice record = answer->records[0].data, v = tag_find(record, "v"), k = tag_find(record, "k"),
                 p = tag_find(record, "p");
    if (!tags_are_valid(record) || (v.p && !slice_is(v, "DKIM1")) || !p.p) return false;
    return slice_is(k.p ? k : SLICE("rsa"), algorithm) && same_base64(p, public_b64);
}

bool rotation_may_switch(size_t count, const struct rotation_look looks[], int64_t now) {
    for (size_t i = 0; i < count; i++)
        if (!looks[i].fits || !looks[i].known || (looks[i].ready_ms > now && !looks[i].urgent)) return false;
    return count > 0;
}
