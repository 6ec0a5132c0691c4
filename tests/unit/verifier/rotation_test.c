/* The roll-over of DKIM keys as a table: keys as they are, and what is due at noon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/verifier/keys/rotation.h"

#define NOW "2026-11-24T12:00:00.000Z"
#define KEY(selector, state, changed, more)                                                                            \
    "{\"selector\":\"" selector "\",\"state\":\"" state "\",\"changed\":\"" changed "\"" more "}"
enum { HOUR = 3600000, DAY = 24 * HOUR };

static const struct {
    const char *what, *keys;
    int rotate_days;
    enum rotation_step step;
    int64_t wait; /* ROTATION_WAIT: from now; ROTATION_REMOVE: how many go */
} cases[] = {
    {"young keys: at most the longest pause", KEY("r1", "active", "2026-11-24T00:00:00.000Z", ""), 180, ROTATION_WAIT,
     HOUR},
    {"keys of half a year", KEY("r1", "active", "2026-05-28T11:59:59.999Z", ""), 180, ROTATION_MAKE, 0},
    {"half a year less half an hour", KEY("r1", "active", "2026-05-28T12:30:00.000Z", ""), 180, ROTATION_WAIT,
     HOUR / 2},
    {"old, but nobody wants them changed", KEY("r1", "active", "2006-05-28T12:00:00.000Z", ""), 0, ROTATION_WAIT, HOUR},
    {"the youngest of the active counts",
     KEY("r1", "active", "2006-05-28T12:00:00.000Z", "") "," KEY("e1", "active", "2026-11-24T00:00:00.000Z", ""), 180,
     ROTATION_WAIT, HOUR},
    {"one from before the states", "{\"selector\":\"r1\",\"changed\":\"2006-05-28T12:00:00.000Z\"}", 180, ROTATION_MAKE,
     0},
    {"published, never seen",
     KEY("r1", "active", "2006-05-28T12:00:00.000Z", "") "," KEY("r2", "published", "2026-11-24T11:00:00.000Z", ""),
     180, ROTATION_LOOK, 0},
    {"published, seen, not yet known everywhere",
     KEY("r2", "published", "2026-11-24T11:00:00.000Z",
         ",\"seen\":\"2026-11-24T11:59:00.000Z\",\"ready\":\"2026-11-24T12:05:00.000Z\""),
     180, ROTATION_WAIT, HOUR / 12},
    {"published, seen, known everywhere: a last look",
     KEY("r2", "published", "2026-11-24T11:00:00.000Z", ",\"seen\":\"2026-11-24T11:59:00.000Z\",\"ready\":\"" NOW "\""),
     180, ROTATION_LOOK, 0},
    {"urgent: nobody waits",
     KEY("r2", "published", "2026-11-24T11:00:00.000Z",
         ",\"urgent\":true,\"seen\":\"2026-11-24T11:59:00.000Z\",\"ready\":\"2026-11-24T12:05:00.000Z\""),
     180, ROTATION_LOOK, 0},
    {"pending ones keep others from being made",
     KEY("r1", "active", "2006-05-28T12:00:00.000Z", "") "," KEY("r2", "published", "2026-11-24T11:59:59.000Z",
                                                                 ",\"ready\":\"2026-11-24T12:05:00.000Z\""),
     180, ROTATION_WAIT, HOUR / 12},
    {"retired for a day", KEY("r1", "retired", "2026-11-23T12:00:00.000Z", ""), 0, ROTATION_WAIT, HOUR},
    {"retired for a week less a minute", KEY("r1", "retired", "2026-11-17T12:01:00.000Z", ""), 0, ROTATION_WAIT, 60000},
    {"retired for a week, one of two",
     KEY("r1", "retired", "2026-11-17T12:00:00.000Z", "") "," KEY("e1", "retired", "2026-11-18T12:00:00.000Z", ""), 0,
     ROTATION_REMOVE, 1},
    {"no keys at all", "", 180, ROTATION_WAIT, HOUR},
};

static void test_steps(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[2000];
        snprintf(text, sizeof text, "[%s]", cases[i].keys);
        json_t *keys = json_loads(text, 0, NULL);
        assert_non_null(keys);
        struct rotation_policy policy = {(int64_t)cases[i].rotate_days * DAY, 7 * DAY};
        int64_t now = rotation_time(NOW);
        struct rotation r = rotation_next(keys, &policy, now);
        if (r.step != cases[i].step || (r.step == ROTATION_WAIT && r.at_ms - now != cases[i].wait) ||
            (r.step == ROTATION_REMOVE && (int64_t)json_array_size(r.selectors) != cases[i].wait))
            fail_msg("%s: step %d, in %lld ms", cases[i].what, (int)r.step, (long long)(r.at_ms - now));
        json_decref(r.selectors);
        json_decref(keys);
    }
}

static void test_looks_grow_rarer(void **state) {
    (void)state;
    static const struct {
        const char *since;
        int64_t pause;
    } ages[] = {{NOW, 1000},
                {"2026-11-24T11:50:00.000Z", 60000},
                {"2026-11-24T02:00:00.000Z", HOUR},
                {"2026-10-24T02:00:00.000Z", HOUR}};
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        json_t *keys = json_pack("[{s:s,s:s,s:s}]", "selector", "r2", "state", "published", "changed", ages[i].since);
        struct rotation_policy policy = {0, DAY};
        int64_t now = rotation_time(NOW);
        assert_int_equal(rotation_next(keys, &policy, now).at_ms - now, ages[i].pause);
        json_decref(keys);
    }
}

static void test_records(void **state) {
    (void)state;
    static const struct {
        const char *text, *algorithm;
        bool fits;
    } records[] = {
        {"v=DKIM1; k=rsa; p=QUJD", "rsa", true},
        {"v=DKIM1;p=QU JD;", "rsa", true}, /* rsa is k='s default; white space in p= does not
                                              count */
        {"p=QUJD", "rsa", true},           /* v= may be left out */
        {"v=DKIM1; k=ed25519; p=QUJD", "ed25519", true},
        {"v=DKIM1; p=QUJD", "ed25519", false},
        {"v=DKIM1; k=rsa; p=QUJE", "rsa", false},
        {"v=DKIM1; k=rsa; p=QUJ", "rsa", false},
        {"v=DKIM1; k=rsa; p=QUJDQUJD", "rsa", false},
        {"v=DKIM1; k=rsa; p=", "rsa", false}, /* revoked */
        {"v=DKIM2; k=rsa; p=QUJD", "rsa", false},
        {"v=spf1 -all", "rsa", false},
        {"", "rsa", false},
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct answer_record record[2] = {{0, slice_of(records[i].text)}, {0, slice_of(records[i].text)}};
        struct answer one = {.status = ANSWER_OK, .count = 1, .records = record},
                      two = {.status = ANSWER_OK, .count = 2, .records = record};
        if (rotation_record_fits(&one, records[i].algorithm, "QUJD") != records[i].fits)
            fail_msg("\"%s\" for %s", records[i].text, records[i].algorithm);
        assert_false(rotation_record_fits(&two, records[i].algorithm, "QUJD"));
    }
    struct answer none = {.status = ANSWER_NXDOMAIN};
    assert_false(rotation_record_fits(&none, "rsa", "QUJD"));
}

static void test_the_switch(void **state) {
    (void)state;
    struct rotation_look there = {true, true, 100, false}, early = {true, true, 101, false},
                         urgent = {true, true, 101, true}, fresh = {true, false, 0, true},
                         lost = {false, true, 100, true};
    assert_true(rotation_may_switch(2, (struct rotation_look[]){there, there}, 100));
    assert_true(rotation_may_switch(2, (struct rotation_look[]){urgent, urgent}, 100));
    assert_false(rotation_may_switch(2, (struct rotation_look[]){there, early}, 100));
    assert_false(
        rotation_may_switch(2, (struct rotation_look[]){there, fresh}, 100)); /* the store must know that it was seen */
    assert_false(rotation_may_switch(2, (struct rotation_look[]){lost, there}, 100));
    assert_false(rotation_may_switch(0, NULL, 100));
}

static void test_times(void **state) {
    (void)state;
    assert_int_equal(rotation_time("1970-01-01T00:00:01.500Z"), 1500);
    assert_int_equal(rotation_time("1970-01-02T00:00:00Z"), DAY);
    assert_int_equal(rotation_time("2026-11-24"), 0);
    assert_int_equal(rotation_time("2026-13-24T00:00:00Z"), 0);
    assert_int_equal(rotation_time(""), 0);
    assert_int_equal(rotation_time(NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps), cmocka_unit_test(test_looks_grow_rarer),
                                       cmocka_unit_test(test_records), cmocka_unit_test(test_the_switch),
                                       cmocka_unit_test(test_times)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
