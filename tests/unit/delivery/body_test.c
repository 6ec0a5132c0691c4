/* Message bodies in memory: one copy for all who need it, and a bound that others wait for. The
 * store is this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/base/arena.h"
#include "libcommon/store/queue.h"
#include "services/delivery/session/body.h"

enum { READS_MAX = 16, KB = 1024 };

static struct {
    queue_text_fn *done;
    void *ctx;
    char id[ULID_BYTES];
} reads[READS_MAX];
static size_t read_count;

void queue_read_text(struct redis *r, struct slice id, bool in_queue, queue_text_fn *done, void *ctx) {
    (void)r, (void)in_queue;
    assert_true(read_count < READS_MAX);
    reads[read_count].done = done;
    reads[read_count].ctx = ctx;
    memcpy(reads[read_count].id, id.p, ULID_LENGTH);
    read_count++;
}

static void answer(size_t i, int error) {
    static char text[400 * KB];
    reads[i].done(reads[i].ctx, error, slice_make(text, error ? 0 : sizeof text));
}

struct user {
    struct life life;
    struct body_use use;
    int woken;
};

static struct event_base *base;
static void on_wake(void *ctx) { ((struct user *)ctx)->woken++; }
static void on_free(void *ctx) { (void)ctx; }

static void users_start(struct user *u, size_t n) {
    base = event_base_new();
    read_count = 0;
    memset(u, 0, n * sizeof *u);
    for (size_t i = 0; i < n; i++) life_start(&u[i].life, base, on_wake, on_free, &u[i]);
}

static void users_end(struct user *u, size_t n) {
    for (size_t i = 0; i < n; i++) life_destroy_now(&u[i].life);
    event_base_free(base);
}

static const char id_a[] = "01ARZ3NDEKTSV4RRFFQ69G5FAA", id_b[] = "01ARZ3NDEKTSV4RRFFQ69G5FAB",
                  id_c[] = "01ARZ3NDEKTSV4RRFFQ69G5FAC";

static void want(struct bodies *all, struct body_use *use, const char *id, size_t size, struct life *life) {
    struct envelope e = {.size = size};
    memcpy(e.id, id, sizeof e.id);
    body_want(all, use, &e, life);
}

static void one_copy_for_all_who_need_it(void **state) {
    struct user u[3];
    struct slice text;
    (void)state;
    users_start(u, 3);
    struct bodies *all = bodies_create(NULL, 1000 * KB);
    want(all, &u[0].use, id_a, 400 * KB, &u[0].life);
    want(all, &u[1].use, id_a, 400 * KB, &u[1].life);
    assert_int_equal(read_count, 1);
    assert_int_equal(body_state(&u[0].use, &text), 0);
    answer(0, 0);
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_true(u[0].woken == 1 && u[1].woken == 1);
    assert_int_equal(body_state(&u[1].use, &text), 1);
    assert_int_equal(text.n, 400 * KB);
    want(all, &u[2].use, id_a, 400 * KB, &u[2].life); /* later: it is there already */
    assert_true(read_count == 1 && body_state(&u[2].use, &text) == 1);
    for (int i = 0; i < 3; i++) body_drop(all, &u[i].use);
    assert_int_equal(bodies_bytes(all), 0);
    bodies_destroy(all);
    users_end(u, 3);
}

static void a_text_that_came_with_the_lease_is_not_read(void **state) {
    struct user u[1];
    struct slice text;
    struct buf packed = {0};
    (void)state;
    users_start(u, 1);
    struct bodies *all = bodies_create(NULL, 1000 * KB);
    queue_pack_text(SLICE("a text"), &packed);
    struct envelope e = {.size = 6, .text_in_queue = true, .packed = buf_slice(&packed)};
    memcpy(e.id, id_a, sizeof e.id);
    body_want(all, &u[0].use, &e, &u[0].life);
    assert_int_equal(read_count, 0);
    assert_int_equal(body_state(&u[0].use, &text), 1);
    assert_true(slice_is(text, "a text"));
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(u[0].woken, 1);
    body_drop(all, &u[0].use);
    e.size = 7; /* damaged: it has another size than its envelope */
    body_want(all, &u[0].use, &e, &u[0].life);
    assert_int_equal(body_state(&u[0].use, &text), STORE_INVALID);
    body_drop(all, &u[0].use);
    assert_int_equal(bodies_bytes(all), 0);
    buf_free(&packed);
    bodies_destroy(all);
    users_end(u, 1);
}

static void beyond_the_bound_one_waits(void **state) {
    struct user u[3];
    struct slice text;
    (void)state;
    users_start(u, 3);
    struct bodies *all = bodies_create(NULL, 1000 * KB);
    want(all, &u[0].use, id_a, 700 * KB, &u[0].life);
    want(all, &u[1].use, id_b, 700 * KB, &u[1].life);
    want(all, &u[2].use, id_c, 100 * KB, &u[2].life); /* it would fit, but does not overtake
                                                              the large one */
    assert_int_equal(read_count, 1);
    assert_int_equal(bodies_bytes(all), 700 * KB);
    answer(0, 0);
    body_drop(all, &u[0].use);
    assert_int_equal(read_count, 3);
    assert_string_equal(reads[1].id, id_b);
    answer(1, STORE_UNAVAILABLE);
    assert_int_equal(body_state(&u[1].use, &text), STORE_UNAVAILABLE);
    body_drop(all, &u[1].use);
    body_drop(all, &u[2].use); /* while it is on its way */
    assert_int_equal(bodies_bytes(all), 100 * KB);
    answer(2, 0);
    assert_int_equal(bodies_bytes(all), 0);
    bodies_destroy(all);
    users_end(u, 3);
}

static void a_body_larger_than_the_bound_is_read_alone(void **state) {
    struct user u[2];
    (void)state;
    users_start(u, 2);
    struct bodies *all = bodies_create(NULL, 100 * KB);
    want(all, &u[0].use, id_a, 300 * KB, &u[0].life);
    want(all, &u[1].use, id_b, 1 * KB, &u[1].life);
    assert_int_equal(read_count, 1);
    body_drop(all, &u[1].use); /* one that waits can go */
    answer(0, 0);
    body_drop(all, &u[0].use);
    assert_true(read_count == 1 && bodies_bytes(all) == 0);
    bodies_destroy(all);
    users_end(u, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_copy_for_all_who_need_it),
        cmocka_unit_test(a_text_that_came_with_the_lease_is_not_read),
        cmocka_unit_test(beyond_the_bound_one_waits),
        cmocka_unit_test(a_body_larger_than_the_bound_is_read_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
