/* The lifetime rule of sessions (libcommon/service/life.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/service/life.h"

struct thing {
    struct life life;
    int runs;
    bool end_in_run;
};

static int destroyed;

static void run(void *ctx) {
    struct thing *t = ctx;
    t->runs++;
    if (t->end_in_run) life_end(&t->life);
}

static void destroy(void *ctx) {
    (void)ctx;
    destroyed++;
}

static void turn(struct event_base *base) { event_base_loop(base, EVLOOP_NONBLOCK); }

static void test_wakes_of_one_turn_are_one_run(void **state) {
    struct event_base *base = event_base_new();
    struct thing t = {0};
    (void)state;
    destroyed = 0;
    life_start(&t.life, base, run, destroy, &t);
    life_wake(&t.life);
    life_wake(&t.life);
    assert_int_equal(t.runs, 0); /* never from within */
    turn(base);
    assert_int_equal(t.runs, 1);
    life_end(&t.life);
    assert_int_equal(destroyed, 0);
    turn(base);
    assert_int_equal(t.runs, 1);
    assert_int_equal(destroyed, 1);
    event_base_free(base);
}

static void test_an_answer_on_its_way_keeps_an_ended_session(void **state) {
    struct event_base *base = event_base_new();
    struct thing t = {0};
    (void)state;
    destroyed = 0;
    life_start(&t.life, base, run, destroy, &t);
    life_hold(&t.life);
    life_end(&t.life);
    life_end(&t.life);
    turn(base);
    assert_int_equal(destroyed, 0);
    assert_true(life_has_ended(&t.life));
    life_release(&t.life);
    turn(base);
    assert_int_equal(destroyed, 1);
    assert_int_equal(t.runs, 0);
    event_base_free(base);
}

static void test_a_session_may_end_itself(void **state) {
    struct event_base *base = event_base_new();
    struct thing t = {.end_in_run = true};
    (void)state;
    destroyed = 0;
    life_start(&t.life, base, run, destroy, &t);
    life_wake(&t.life);
    turn(base);
    turn(base);
    assert_int_equal(t.runs, 1);
    assert_int_equal(destroyed, 1);
    event_base_free(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wakes_of_one_turn_are_one_run),
        cmocka_unit_test(test_an_answer_on_its_way_keeps_an_ended_session),
        cmocka_unit_test(test_a_session_may_end_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
