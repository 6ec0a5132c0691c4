/* What is counted for reports, against a real redis-server: a bucket that another replica has taken
 * over is its own. */
#include "tests/unit/store/ground.h"

#include "libcommon/store/report.h"

#define SAID(call) (answered = false, call, ground_wait(), answer)

static long long value;
static char bucket[128];

static void on_number(void *ctx, int error, long long n) {
    value = n;
    on_answer(ctx, error);
}

static void on_due(void *ctx, int error, const struct report_due *due) {
    snprintf(bucket, sizeof bucket, "%s", due->bucket ? due->bucket : "");
    on_answer(ctx, error);
}

static const char *take(int64_t now, int lease_s, const char *token) {
    assert_int_equal(SAID(report_take(ground.redis, now, lease_s, token, on_due, NULL)), 0);
    return bucket;
}

static void count_one(const char *id) {
    struct report_fact fact = {
        .kind = "dmarc", .domain = "x.test", .id = id, .time = 50, .start = 0, .end = 100, .due = 100, .policy = "{}"};
    struct slice row = SLICE("{\"r\":1}");
    assert_int_equal(SAID(report_count(ground.redis, &fact, 1, &row, on_number, NULL)), 0);
    assert_int_equal(value, REPORT_COUNTED);
}

static void a_bucket_that_was_taken_over_is_not_put_off_by_its_former_holder(void **state) {
    struct redis *r = ground.redis;
    (void)state;
    count_one("01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_int_equal(SAID(report_close(r, 100, on_number, NULL)), 0);
    assert_string_equal(take(200, 600, "a"), "dmarc|0|x.test");
    assert_string_equal(take(200, 600, "b"), "");
    assert_string_equal(take(801, 600, "b"), "dmarc|0|x.test"); /* the lease has ended */
    assert_int_equal(SAID(report_put_off(r, bucket, "a", 5000, on_number, NULL)), STORE_LOST);
    assert_int_equal(SAID(report_put_off(r, bucket, "b", 900, on_number, NULL)), 0);
    assert_string_equal(take(899, 600, "a"), "");
    assert_string_equal(take(901, 600, "a"), "dmarc|0|x.test");
    /* At maxmemory what was sent is recorded, and makes room. */
    ground_fill();
    assert_int_equal(SAID(report_sent(r, "dmarc|0|x.test", 0, NULL, on_number, NULL)), 0);
    assert_int_equal(value, 1);
    ground_make_room();
    assert_string_equal(take(5000, 600, "c"), "");
    assert_string_equal(ground_redis("KEYS {rep}:meta:*"), "0");
    assert_string_equal(ground_redis("KEYS {rep}:rows:*"), "0");
}

static int start(void **state) {
    static const char *const libraries[] = {"report"};
    (void)state;
    return ground_start(1, libraries);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_that_was_taken_over_is_not_put_off_by_its_former_holder),
    };
    return cmocka_run_group_tests(tests, start, ground_stop);
}
