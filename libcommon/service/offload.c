/* A worker's jobs on the process's pool of threads. */
#include "libcommon/base/arena.h"
#include "libcommon/base/pool.h"
#include "libcommon/service/service_private.h"

static void on_ended(void *ctx) { event_active(((struct worker_full *)ctx)->offload_done, EV_TIMEOUT, 0); }

static void on_done(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    pool_finish(((struct worker_full *)ctx)->offloads);
}

void offload_start(struct worker_full *w) {
    w->offload_done = event_new(w->public.base, -1, EV_PERSIST, on_done, w);
    if (!w->offload_done) memory_exhausted();
    w->offloads = pool_home_create(on_ended, w);
}

void offload_stop(struct worker_full *w) {
    pool_home_destroy(w->offloads);
    event_free(w->offload_done);
}

void service_offload(struct worker *w, void (*run)(void *job), void (*done)(void *job), void *job) {
    pool_run(((struct worker_full *)w)->offloads, run, done, job);
}
