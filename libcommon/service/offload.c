/* A small pool of threads for costly computations; a finished job is passed back to its loop. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/service/service_private.h"

struct offload_job {
    struct offload_job *next;
    struct worker_full *worker;
    void (*run)(void *job);
    void (*done)(void *job);
    void *job;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct offload_job *first, *last;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER};

static void *pool_thread(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&pool.lock);
        while (!pool.first) pthread_cond_wait(&pool.some, &pool.lock);
        struct offload_job *j = pool.first;
        pool.first = j->next;
        if (!pool.first) pool.last = NULL;
        pthread_mutex_unlock(&pool.lock);
        j->run(j->job);
        pthread_mutex_lock(&j->worker->lock);
        j->next = j->worker->finished;
        j->worker->finished = j;
        event_active(j->worker->offload_done, EV_TIMEOUT, 0);
        pthread_mutex_unlock(&j->worker->lock);
    }
    return NULL;
}

void offload_start(int threads) {
    for (int i = 0; i < threads; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, pool_thread, NULL) == 0) pthread_detach(t);
    }
}

void service_offload(struct worker *w, void (*run)(void *job), void (*done)(void *job), void *job) {
    struct offload_job *j = memory_alloc(sizeof *j);
    j->worker = (struct worker_full *)w;
    j->run = run;
    j->done = done;
    j->job = job;
    pthread_mutex_lock(&pool.lock);
    if (pool.last)
        pool.last->next = j;
    else
        pool.first = j;
    pool.last = j;
    pthread_cond_signal(&pool.some);
    pthread_mutex_unlock(&pool.lock);
}

void offload_on_done(evutil_socket_t fd, short what, void *ctx) {
    struct worker_full *w = ctx;
    (void)fd, (void)what;
    pthread_mutex_lock(&w->lock);
    struct offload_job *j = w->finished;
    w->finished = NULL;
    pthread_mutex_unlock(&w->lock);
    while (j) {
        struct offload_job *next = j->next;
        j->done(j->job);
        free(j);
        j = next;
    }
}
