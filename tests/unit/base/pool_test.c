/* The pool of threads: jobs come back to their home, each once, and a long one does not hold others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <semaphore.h>

#include "libcommon/base/pool.h"

enum { JOBS = 200 };

struct ground {
    _Atomic int woken;
    sem_t go, came;
};

struct job {
    struct ground *ground;
    _Atomic int runs;
    int ends, order;
};

static int finished;

static void wake(void *ctx) { atomic_fetch_add(&((struct ground *)ctx)->woken, 1); }
static void run(void *job) { atomic_fetch_add(&((struct job *)job)->runs, 1); }
static void done(void *job) {
    struct job *j = job;
    j->ends++;
    j->order = finished++;
}

static void hold(void *job) {
    struct job *j = job;
    sem_post(&j->ground->came);
    while (sem_wait(&j->ground->go) != 0) {
    }
    run(job);
}

static void each_job_runs_once_and_comes_back_once(void **state) {
    struct ground g = {0};
    struct job jobs[JOBS] = {0};
    struct pool_home *h = pool_home_create(wake, &g);
    (void)state;
    for (int i = 0; i < JOBS; i++) pool_run(h, run, done, &jobs[i]);
    pool_home_wait(h);
    assert_int_equal(atomic_load(&g.woken), JOBS);
    for (int i = 0; i < JOBS; i++) assert_int_equal(jobs[i].ends, 0); /* never before pool_finish */
    assert_true(pool_finish(h));
    assert_false(pool_finish(h));
    for (int i = 0; i < JOBS; i++) assert_true(atomic_load(&jobs[i].runs) == 1 && jobs[i].ends == 1);
    pool_home_destroy(h);
}

static void one_thread_keeps_the_order(void **state) {
    struct ground g = {0};
    struct job jobs[JOBS] = {0};
    struct pool_home *h = pool_home_create(wake, &g);
    (void)state;
    finished = 0;
    for (int i = 0; i < JOBS; i++) pool_run(h, run, done, &jobs[i]);
    pool_home_wait(h);
    pool_finish(h);
    for (int i = 0; i < JOBS; i++) assert_int_equal(jobs[i].order, i);
    pool_home_destroy(h);
}

static void as_many_run_at_once_as_there_may_be_threads(void **state) {
    struct ground g = {0};
    struct job jobs[4] = {0};
    (void)state;
    sem_init(&g.go, 0, 0);
    sem_init(&g.came, 0, 0);
    pool_threads(4);
    pool_threads(2); /* at least this many: there may still be 4 */
    struct pool_home *h = pool_home_create(wake, &g);
    for (int i = 0; i < 4; i++) {
        jobs[i].ground = &g;
        pool_run(h, hold, done, &jobs[i]);
    }
    for (int i = 0; i < 4; i++) /* without a thread of its own, the last one would never come */
        while (sem_wait(&g.came) != 0) {
        }
    for (int i = 0; i < 4; i++) sem_post(&g.go);
    pool_home_wait(h);
    pool_finish(h);
    for (int i = 0; i < 4; i++) assert_int_equal(jobs[i].ends, 1);
    pool_home_destroy(h);
}

static void a_home_that_is_destroyed_hears_nothing_more(void **state) {
    struct ground g = {0};
    struct job job = {.ground = &g}, last = {0};
    (void)state;
    sem_init(&g.go, 0, 0);
    sem_init(&g.came, 0, 0);
    struct pool_home *h = pool_home_create(wake, &g), *other = pool_home_create(wake, &g);
    pool_run(h, hold, done, &job);
    while (sem_wait(&g.came) != 0) {
    }
    pool_home_destroy(h);
    sem_post(&g.go);
    while (atomic_load(&job.runs) == 0) { /* the pool goes on */
        pool_run(other, run, done, &last);
        pool_home_wait(other);
        pool_finish(other);
    }
    assert_int_equal(job.ends, 0);
    pool_home_destroy(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_keeps_the_order),
        cmocka_unit_test(each_job_runs_once_and_comes_back_once),
        cmocka_unit_test(as_many_run_at_once_as_there_may_be_threads),
        cmocka_unit_test(a_home_that_is_destroyed_hears_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
