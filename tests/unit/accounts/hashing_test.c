/* The queue before argon2: its bound, its turns, and jobs that come too late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/thread.h>
#include <semaphore.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/pool.h"
#include "libcommon/service/service_private.h"
#include "services/accounts/accounts.h"
#include "services/accounts/hashing.h"

enum { JOBS = HASH_QUEUE_MAX + 64 };

static struct worker_full worker;
static struct hashing jobs[JOBS];
static sem_t gate; /* a job on a thread waits for it */
static int ran, late_count, done_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void run(struct hashing *h) {
    (void)h;
    sem_wait(&gate);
    pthread_mutex_lock(&lock);
    ran++;
    pthread_mutex_unlock(&lock);
}

static void done(struct hashing *h, bool late) {
    (void)h;
    done_count++;
    late_count += late;
}

static bool add(int i, uint64_t owner, int64_t deadline_us) {
    jobs[i] = (struct hashing){.worker = &worker.public, .run = run, .done = done, .deadline_us = deadline_us};
    return hashing_add(&jobs[i], owner);
}

static void all_done(int count) {
    for (int i = 0; i < count; i++) sem_post(&gate);
    while (done_count < count) event_base_loop(worker.public.base, EVLOOP_ONCE);
    while (sem_trywait(&gate) == 0) {
    } /* posts for jobs that never ran */
    assert_int_equal(done_count, count);
}

static int fresh(void **state) {
    (void)state;
    ran = late_count = done_count = 0;
    return 0;
}

static void test_past_the_bound_it_says_so_at_once(void **state) {
    int64_t later = clock_monotonic_us() + 60000000;
    int taken = 0;
    (void)state;
    while (taken < JOBS && add(taken, (uint64_t)taken % 7, later)) taken++;
    assert_in_range(taken, HASH_QUEUE_MAX + 1, HASH_QUEUE_MAX + 63); /* and one on each thread */
    assert_false(add(taken, 1, later));
    all_done(taken);
    assert_int_equal(ran, taken);
    assert_int_equal(late_count, 0);
    assert_true(add(0, 1, later));
    done_count = 0;
    all_done(1);
}

static void test_what_nobody_waits_for_any_more_is_not_done(void **state) {
    int64_t now = clock_monotonic_us();
    (void)state;
    for (int i = 0; i < 20; i++) assert_true(add(i, 1, i % 2 ? now - 1 : now + 60000000));
    all_done(20);
    assert_int_equal(ran, 10);
    assert_int_equal(late_count, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_past_the_bound_it_says_so_at_once, fresh),
        cmocka_unit_test_setup(test_what_nobody_waits_for_any_more_is_not_done, fresh),
    };
    evthread_use_pthreads();
    worker.public.base = event_base_new();
    sem_init(&gate, 0, 0);
    hashing_configure();
    pool_threads(4);
    offload_start(&worker);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    offload_stop(&worker);
    event_base_free(worker.public.base);
    return failed;
}
