#include "libcommon/store/cold/cold.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/metrics.h"
#include "libcommon/base/pool.h"
#include "libcommon/store/cold/directory.h"
#include "libcommon/store/redis/redis_attach.h"

static struct metric reads = METRIC_COUNTER("postbus_store_cold_reads_total", "Reads of the cold tier");
static struct metric read_us =
    METRIC_COUNTER("postbus_store_cold_read_microseconds_total", "Time of reads of the cold tier, queue included");

struct cold {
    enum cold_tier target;
    char *root;
    struct event *ready;
    struct pool_home *home;
    bool destroying;
};

static void on_ended(void *ctx) { event_active(((struct cold *)ctx)->ready, EV_TIMEOUT, 0); }

static void on_ready(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    pool_finish(((struct cold *)ctx)->home);
}

void cold_run(struct cold *c, void (*run)(void *job), void (*done)(void *job), void *job) {
    pool_run(c->home, run, done, job);
}

/* Waits for the disk, when a process ends. */
static void cold_destroy(void *object) {
    struct cold *c = object;
    c->destroying = true;
    do /* a callback may begin something further, which then fails */
        pool_home_wait(c->home);
    while (pool_finish(c->home));
    pool_home_destroy(c->home);
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
    pool_threads(COLD_THREADS);
    c->home = pool_home_create(on_ended, c);
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
