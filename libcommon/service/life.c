#include "libcommon/service/life.h"

#include "libcommon/base/arena.h"

static void finish(struct life *l) {
    event_free(l->wake);
    l->destroy(l->ctx);
}

static void on_wake(evutil_socket_t fd, short what, void *ctx) {
    struct life *l = ctx;
    (void)fd, (void)what;
    if (!l->ended)
        l->run(l->ctx);
    else if (l->holds == 0)
        finish(l);
}

void life_start(struct life *l, struct event_base *base, life_fn *run, life_fn *destroy, void *ctx) {
    *l = (struct life){.run = run, .destroy = destroy, .ctx = ctx};
    l->wake = event_new(base, -1, 0, on_wake, l);
    if (!l->wake) memory_exhausted();
}

void life_wake(struct life *l) { event_active(l->wake, EV_TIMEOUT, 0); }

void life_hold(struct life *l) { l->holds++; }

void life_release(struct life *l) {
    l->holds--;
    life_wake(l);
}

void life_end(struct life *l) {
    l->ended = true;
    life_wake(l);
}

bool life_has_ended(const struct life *l) { return l->ended; }

void life_destroy_now(struct life *l) { finish(l); }
