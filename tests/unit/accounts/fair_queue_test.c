#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/accounts/fair_queue.h"

enum { JOBS = 8 };

static void takes(struct fair_queue *q, const struct fair_item items[], const char *order) {
    for (; *order; order++) {
        struct fair_item *item = fair_queue_take(q);
        assert_ptr_equal(item, &items[*order - '0']);
    }
    assert_null(fair_queue_take(q));
    assert_int_equal(q->count, 0);
}

static void test_one_owner_is_served_in_order(void **state) {
    struct fair_queue q = {.max = JOBS};
    struct fair_item items[JOBS] = {0};
    (void)state;
    for (int i = 0; i < 4; i++) assert_true(fair_queue_add(&q, &items[i], 7));
    takes(&q, items, "0123");
}

static void test_owners_take_turns(void **state) {
    struct fair_queue q = {.max = JOBS};
    struct fair_item items[JOBS] = {0};
    (void)state;
    for (int i = 0; i < 4; i++) fair_queue_add(&q, &items[i], 7);
    fair_queue_add(&q, &items[4], 8);
    fair_queue_add(&q, &items[5], 8);
    fair_queue_add(&q, &items[6], 9);
    takes(&q, items, "0461523");
}

static void test_who_comes_later_starts_at_the_turn_that_is_on(void **state) {
    struct fair_queue q = {.max = JOBS};
    struct fair_item items[JOBS] = {0};
    (void)state;
    for (int i = 0; i < 4; i++) fair_queue_add(&q, &items[i], 7);
    assert_ptr_equal(fair_queue_take(&q), &items[0]);
    assert_ptr_equal(fair_queue_take(&q), &items[1]);
    fair_queue_add(&q, &items[4], 8); /* as if it had been there in this turn, not in the first */
    fair_queue_add(&q, &items[5], 8);
    takes(&q, items, "4253");
}

static void test_the_bound(void **state) {
    struct fair_queue q = {.max = 2};
    struct fair_item items[JOBS] = {0};
    (void)state;
    assert_true(fair_queue_add(&q, &items[0], 1));
    assert_true(fair_queue_add(&q, &items[1], 2));
    assert_false(fair_queue_add(&q, &items[2], 3));
    takes(&q, items, "01");
    assert_true(fair_queue_add(&q, &items[2], 3));
    takes(&q, items, "2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_owner_is_served_in_order),
        cmocka_unit_test(test_owners_take_turns),
        cmocka_unit_test(test_who_comes_later_starts_at_the_turn_that_is_on),
        cmocka_unit_test(test_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
