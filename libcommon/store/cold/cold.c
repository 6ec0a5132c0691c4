#include "libcommon/store/cold/cold.h"

#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/metrics.h"
#include "libcommon/store/cold/directory.h"
#include "libcommon/store/redis/redis_attach.h"

static struct metric reads = METRIC_COUNTER("postbus_store_cold_reads_total", "Reads of the cold tier");
static struct metric read_us =
    METRIC_COUNTER("postbus_store_cold_read_microseconds_total", "Time of reads of the cold tier, queue included");

struct cold_job {
    struct cold_job *next;
    struct cold *cold;
    void (*run)(void *job);
    void (*done)(void *job);
    void *job;
};

struct cold {
    enum cold_tier target;
    char *root;
    struct event *ready;
    bool destroying;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct cold_job *finished; /* newest first */
    size_t running;            /* waiting for a thread, or on one */
};

/* The threads, of the whole process. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct cold_job *first, *last;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER};
static once_flag pool_once = ONCE_FLAG_INIT;

static void *pool_thread(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&pool.lock);
        while (!pool.first) pthread_cond_wait(&pool.some, &pool.lock);
        struct cold_job *j = pool.first;
        pool.first = j->next;
        if (!pool.first) pool.last = NULL;
        pthread_mutex_unlock(&pool.lock);
        j->run(j->job);
        struct cold *c = j->cold;
        pthread_mutex_lock(&c->lock);
        j->next = c->finished;
        c->finished = j;
        if (--c->running == 0) pthread_cond_signal(&c->idle);
        event_active(c->ready, EV_TIMEOUT, 0);
        pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

static void pool_start(void) {
    for (int i = 0; i < COLD_THREADS; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, pool_thread, NULL) != 0) memory_exhausted();
        pthread_detach(t);
    }
}

void cold_run(struct cold *c, void (*run)(void *job), void (*done)(void *job), void *job) {
    struct cold_job *j = memory_alloc(sizeof *j);
    *j = (struct cold_job){.cold = c, .run = run, .done = done, .job = job};
    call_once(&pool_once, pool_start);
    pthread_mutex_lock(&c->lock);
    c->running++;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_lock(&pool.lock);
    if (pool.last)
        pool.last->next = j;
    else
        pool.first = j;
    pool.last = j;
    pthread_cond_signal(&pool.some);
    pthread_mutex_unlock(&pool.lock);
}

static void on_ready(evutil_socket_t fd, short what, void *ctx) {
    struct cold *c = ctx;
    struct cold_job *oldest = NULL;
    (void)fd, (void)what;
    pthread_mutex_lock(&c->lock);
    struct cold_job *j = c->finished;
    c->finished = NULL;
    pthread_mutex_unlock(&c->lock);
    while (j) { /* in the order in which they ended */
        struct cold_job *next = j->next;
        j->next = oldest;
        oldest = j;
        j = next;
    }
    while (oldest) {
        struct cold_job *next = oldest->next;
        oldest->done(oldest->job);
        free(oldest);
        oldest = next;
    }
}

/* Waits for the disk, when a process ends. */
static void cold_destroy(void *object) {
    struct cold *c = object;
    c->destroying = true;
    for (;;) { /* a callback may begin something further, which then fails */
        pthread_mutex_lock(&c->lock);
        while (c->running) pthread_cond_wait(&c->idle, &c->lock);
        bool some = c->finished != NULL;
        pthread_mutex_unlock(&c->lock);
        if (!some) break;
        on_ready(-1, 0, c);
    }
    event_free(c->ready);
    free(c->root);
    free(c);
}

struct cold *cold_of(struct redis *r) {
    struct cold *c = redis_attached(r);
    if (c) return c;
    const char *target = config_text("POSTBUS_COLD", "off");
    c = memory_alloc(sizeof *c);
    if (strcmp(target, "directory") == 0)
        c->target = COLD_DIRECTORY;
    else if (strcmp(target, "off") != 0)
        config_refuse("POSTBUS_COLD", "expected off or directory");
    c->root = memory_copy(slice_of(config_text("POSTBUS_COLD_DIRECTORY", "/var/lib/postbus/cold")));
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->idle, NULL);
    c->ready = event_new(redis_base(r), -1, 0, on_ready, c);
    if (!c->ready) memory_exhausted();
    redis_attach(r, c, cold_destroy);
    return c;
}

enum cold_tier cold_target(const struct cold *c) { return c->target; }

/* The directory's jobs */

struct access {
    struct cold *cold;
    char segment[ULID_BYTES];
    uint64_t offset, length;
    int64_t began_us;
    struct slice bytes;
    struct buf out;
    int error;
    cold_read_fn *read;
    cold_done_fn *done;
    void *ctx;
};

static struct access *access_create(struct cold *c, const char *segment, void *ctx) {
    struct access *a = memory_alloc(sizeof *a);
    *a = (struct access){.cold = c, .ctx = ctx, .began_us = clock_monotonic_us()};
    memcpy(a->segment, segment, ULID_LENGTH);
    return a;
}

static void access_end(void *job) {
    struct access *a = job;
    int error = a->cold->destroying ? STORE_UNAVAILABLE : a->error;
    if (a->read) {
        metric_add(&reads, 1);
        metric_add(&read_us, clock_monotonic_us() - a->began_us);
        a->read(a->ctx, error, error ? SLICE("") : buf_slice(&a->out));
    } else {
        a->done(a->ctx, error);
    }
    buf_free(&a->out);
    free(a);
}

static void nothing(void *job) { ((struct access *)job)->error = STORE_UNAVAILABLE; }

static void run_read(void *job) {
    struct access *a = job;
    a->error = directory_read(a->cold->root, a->segment, a->offset, a->length, &a->out);
}

static void run_write(void *job) {
    struct access *a = job;
    a->error = directory_write(a->cold->root, a->segment, a->bytes);
}

static void run_remove(void *job) {
    struct access *a = job;
    a->error = directory_remove(a->cold->root, a->segment);
}

void cold_read(struct cold *c, enum cold_tier tier, const char *segment, uint64_t offset, uint64_t length,
               cold_read_fn *done, void *ctx) {
    struct access *a = access_create(c, segment, ctx);
    a->offset = offset;
    a->length = length;
    a->read = done;
    cold_run(c, tier == COLD_DIRECTORY ? run_read : nothing, access_end, a);
}

void cold_write(struct cold *c, enum cold_tier tier, const char *segment, struct slice bytes, cold_done_fn *done,
                void *ctx) {
    struct access *a = access_create(c, segment, ctx);
    a->bytes = bytes;
    a->done = done;
    cold_run(c, tier == COLD_DIRECTORY ? run_write : nothing, access_end, a);
}

void cold_remove(struct cold *c, enum cold_tier tier, const char *segment, cold_done_fn *done, void *ctx) {
    struct access *a = access_create(c, segment, ctx);
    a->done = done;
    cold_run(c, tier == COLD_DIRECTORY ? run_remove : nothing, access_end, a);
}
