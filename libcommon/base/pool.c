#include "libcommon/base/pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"

struct pool_job {
    struct pool_job *next;
    struct pool_home *home;
    void (*run)(void *job);
    void (*done)(void *job);
    void *job;
};

struct job_list {
    struct pool_job *first, *last;
};

struct pool_home {
    void (*wake)(void *ctx);
    void *ctx;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t idle;
    struct job_list ended;
    size_t running; /* waiting for a thread, or on one */
    bool destroyed;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct job_list waiting;
    int most, threads, free; /* free: threads that wait for a job, or have been woken for one */
    int count;               /* of waiting */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER, .most = 1};

static void list_add(struct job_list *l, struct pool_job *j) {
    j->next = NULL;
    if (l->last)
        l->last->next = j;
    else
        l->first = j;
    l->last = j;
}

static struct pool_job *list_take(struct job_list *l) {
    struct pool_job *j = l->first;
    if (!j) return NULL;
    l->first = j->next;
    if (!l->first) l->last = NULL;
    return j;
}

static void home_free(struct pool_home *h) {
    for (struct pool_job *j; (j = list_take(&h->ended));) free(j);
    pthread_cond_destroy(&h->idle);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static void job_ended(struct pool_job *j) {
    struct pool_home *h = j->home;
    pthread_mutex_lock(&h->lock);
    list_add(&h->ended, j);
    if (--h->running == 0) pthread_cond_signal(&h->idle);
    bool last = h->destroyed && h->running == 0;
    if (!h->destroyed) h->wake(h->ctx);
    pthread_mutex_unlock(&h->lock);
    if (last) home_free(h);
}

static void *pool_thread(void *unused) {
    (void)unused;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        struct pool_job *j = list_take(&pool.waiting);
        if (!j) {
            pool.free++;
            pthread_cond_wait(&pool.some, &pool.lock);
            pool.free--;
            continue;
        }
        pool.count--;
        pthread_mutex_unlock(&pool.lock);
        j->run(j->job);
        job_ended(j);
        pthread_mutex_lock(&pool.lock);
    }
    return NULL;
}

void pool_threads(int count) {
    pthread_mutex_lock(&pool.lock);
    if (count > pool.most) pool.most = count;
    pthread_mutex_unlock(&pool.lock);
}

struct pool_home *pool_home_create(void (*wake)(void *ctx), void *ctx) {
    struct pool_home *h = memory_alloc(sizeof *h);
    *h = (struct pool_home){.wake = wake, .ctx = ctx};
    if (pthread_mutex_init(&h->lock, NULL) != 0 || pthread_cond_init(&h->idle, NULL) != 0) memory_exhausted();
    return h;
}

void pool_run(struct pool_home *h, void (*run)(void *job), void (*done)(void *job), void *job) {
    struct pool_job *j = memory_alloc(sizeof *j);
    *j = (struct pool_job){.home = h, .run = run, .done = done, .job = job};
    pthread_mutex_lock(&h->lock);
    h->running++;
    pthread_mutex_unlock(&h->lock);
    pthread_mutex_lock(&pool.lock);
    list_add(&pool.waiting, j);
    pool.count++;
    pthread_t t;
    if (pool.threads < pool.most && pool.free < pool.count && pthread_create(&t, NULL, pool_thread, NULL) == 0) {
        pthread_detach(t);
        pool.threads++;
    }
    if (pool.threads == 0) memory_exhausted(); /* nobody would ever run it */
    pthread_cond_signal(&pool.some);
    pthread_mutex_unlock(&pool.lock);
}

bool pool_finish(struct pool_home *h) {
    pthread_mutex_lock(&h->lock);
    struct job_list ended = h->ended;
    h->ended = (struct job_list){0};
    pthread_mutex_unlock(&h->lock);
    bool any = ended.first != NULL;
    for (struct pool_job *j; (j = list_take(&ended));) {
        j->done(j->job);
        free(j);
    }
    return any;
}

void pool_home_wait(struct pool_home *h) {
    pthread_mutex_lock(&h->lock);
    while (h->running) pthread_cond_wait(&h->idle, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

void pool_home_destroy(struct pool_home *h) {
    pthread_mutex_lock(&h->lock);
    h->destroyed = true;
    bool last = h->running == 0;
    pthread_mutex_unlock(&h->lock);
    if (last) home_free(h);
}
