/* The window: how much a worker asks of the store at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/mailbox/mailbox_service.h"

enum { STEPS = WINDOW_MAX + 10 };

static struct window window;
static struct window_step steps[STEPS];
static size_t started;

/* Steps start in the order in which they were added. */
static void on_start(struct window_step *step) { assert_ptr_equal(step, &steps[started++]); }

static void add(size_t i, size_t cost) {
    steps[i] = (struct window_step){.cost = cost, .start = on_start};
    window_add(&window, &steps[i]);
}

static int reset(void **state) {
    (void)state;
    window = (struct window){0};
    started = 0;
    return 0;
}

static void test_bound_of_steps(void **state) {
    (void)state;
    for (size_t i = 0; i < STEPS; i++) add(i, 1);
    assert_int_equal(started, WINDOW_MAX);
    window_done(&window, &steps[0]);
    assert_int_equal(started, WINDOW_MAX + 1);
    for (size_t i = 1; i < STEPS; i++) window_done(&window, &steps[i]);
    assert_int_equal(started, STEPS);
    assert_int_equal(window.running, 0);
    assert_int_equal(window.bytes, 0);
    assert_null(window.first);
    assert_null(window.last);
}

static void test_bound_of_bytes(void **state) {
    (void)state;
    add(0, WINDOW_BYTES_MAX / 2);
    add(1, WINDOW_BYTES_MAX / 2);
    add(2, 1); /* fits nowhere now, and lets nothing past it */
    add(3, 0);
    assert_int_equal(started, 2);
    window_done(&window, &steps[1]);
    assert_int_equal(started, 4);
    window_done(&window, &steps[0]);
    window_done(&window, &steps[2]);
    window_done(&window, &steps[3]);
    assert_int_equal(window.bytes, 0);
}

/* One that is larger than the whole window runs alone. */
static void test_a_large_step_runs_alone(void **state) {
    (void)state;
    add(0, 10);
    add(1, 2 * (size_t)WINDOW_BYTES_MAX);
    add(2, 10);
    assert_int_equal(started, 1);
    window_done(&window, &steps[0]);
    assert_int_equal(started, 2);
    window_done(&window, &steps[1]);
    assert_int_equal(started, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_bound_of_steps, reset),
        cmocka_unit_test_setup(test_bound_of_bytes, reset),
        cmocka_unit_test_setup(test_a_large_step_runs_alone, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
