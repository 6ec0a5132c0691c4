/* Leases by name, and what is noted of domains, against a real redis-server. */
#include "tests/unit/store/ground.h"

#include "libcommon/store/domain_note.h"
#include "libcommon/store/lease.h"

#define SAID(call) (answered = false, call, ground_wait(), answer)
#define NAME SLICE("v:lease:test")

static int acquire(const char *token, int64_t ms) {
    return SAID(lease_acquire(ground.redis, NAME, token, ms, on_answer, NULL));
}
static int extend(const char *token, int64_t ms) {
    return SAID(lease_extend(ground.redis, NAME, token, ms, on_answer, NULL));
}
static int release(const char *token) { return SAID(lease_release(ground.redis, NAME, token, on_answer, NULL)); }

static void a_lease_has_one_holder(void **state) {
    (void)state;
    assert_int_equal(acquire("a", 60000), 0);
    assert_int_equal(acquire("a", 60000), 0);
    assert_int_equal(acquire("b", 60000), STORE_LOST);
    assert_int_equal(extend("b", 60000), STORE_LOST);
    assert_int_equal(release("b"), STORE_LOST);
    assert_int_equal(extend("a", 60000), 0);
    assert_int_equal(release("a"), 0);
    assert_int_equal(acquire("b", 60000), 0);
    assert_int_equal(release("b"), 0);
    assert_string_equal(ground_redis("DBSIZE"), "0");
}

static void a_lease_ends_by_itself_and_its_holder_learns_it(void **state) {
    (void)state;
    assert_int_equal(acquire("a", 50), 0);
    ground_run(100);
    assert_int_equal(extend("a", 50), STORE_LOST);
    assert_int_equal(acquire("b", 60000), 0);
    assert_int_equal(extend("a", 50), STORE_LOST);
    assert_int_equal(acquire("a", 50), STORE_LOST);
    /* An extension counts from now. */
    assert_int_equal(extend("b", 50), 0);
    ground_run(100);
    assert_int_equal(acquire("a", 50), 0);
    release("a");
}

static void leases_work_at_maxmemory(void **state) {
    (void)state;
    ground_fill();
    assert_int_equal(acquire("a", 60000), 0);
    assert_int_equal(extend("a", 60000), 0);
    assert_int_equal(release("a"), 0);
    ground_make_room();
}

static char note[64];
static void on_note(void *ctx, int error, struct slice text) {
    snprintf(note, sizeof note, "%.*s", SLICE_FMT(text));
    on_answer(ctx, error);
}

static void notes_are_kept_by_kind_and_domain(void **state) {
    struct redis *r = ground.redis;
    (void)state;
    assert_int_equal(SAID(domain_note_read(r, NOTE_CHECK, "a.test", on_note, NULL)), STORE_NOT_FOUND);
    assert_int_equal(SAID(domain_note_write(r, NOTE_CHECK, "a.test", SLICE("{}"), 60000, on_answer, NULL)), 0);
    assert_int_equal(SAID(domain_note_write(r, NOTE_PUBLISHED, "a.test", SLICE("[]"), 0, on_answer, NULL)), 0);
    assert_int_equal(SAID(domain_note_write(r, NOTE_STS, "a.test", SLICE("x"), 50, on_answer, NULL)), 0);
    assert_int_equal(SAID(domain_note_read(r, NOTE_CHECK, "a.test", on_note, NULL)), 0);
    assert_string_equal(note, "{}");
    assert_string_equal(ground_redis("TTL v:published:a.test"), "-1");
    ground_run(100);
    assert_int_equal(SAID(domain_note_read(r, NOTE_STS, "a.test", on_note, NULL)), STORE_NOT_FOUND);
    assert_int_equal(SAID(domain_note_delete(r, NOTE_CHECK, "a.test", on_answer, NULL)), 0);
    assert_int_equal(SAID(domain_note_read(r, NOTE_CHECK, "a.test", on_note, NULL)), STORE_NOT_FOUND);
    assert_int_equal(SAID(domain_note_read(r, NOTE_PUBLISHED, "a.test", on_note, NULL)), 0);
    assert_string_equal(note, "[]");
}

static int start(void **state) {
    static const char *const libraries[] = {"lease"};
    (void)state;
    return ground_start(1, libraries);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_has_one_holder),
        cmocka_unit_test(a_lease_ends_by_itself_and_its_holder_learns_it),
        cmocka_unit_test(leases_work_at_maxmemory),
        cmocka_unit_test(notes_are_kept_by_kind_and_domain),
    };
    return cmocka_run_group_tests(tests, start, ground_stop);
}
