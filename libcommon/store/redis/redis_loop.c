#include "libcommon/store/redis/redis_loop.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"

struct redis_loop {
    redisAsyncContext *context; /* NULL: freed by one of our callbacks */
    struct event *read, *write, *flush, *timer;
    bool late;     /* the flush has been queued after the other callbacks */
    bool flushing; /* the last write did not fit into the socket */
    int busy;      /* number of our running callbacks */
};

static void loop_free(struct redis_loop *l) {
    event_free(l->read);
    event_free(l->write);
    event_free(l->flush);
    event_free(l->timer);
    free(l);
}

/* hiredis may free the context, and with it this object, inside each of its handlers. */
static void enter(struct redis_loop *l) { l->busy++; }

static void leave(struct redis_loop *l) {
    if (--l->busy == 0 && !l->context) loop_free(l);
}

static void on_read(evutil_socket_t fd, short what, void *ctx) {
    struct redis_loop *l = ctx;
    (void)fd, (void)what;
    enter(l);
    if (l->context) redisAsyncHandleRead(l->context);
    leave(l);
}

static void on_write(evutil_socket_t fd, short what, void *ctx) {
    struct redis_loop *l = ctx;
    (void)fd, (void)what;
    enter(l);
    l->flushing = true;
    if (l->context) redisAsyncHandleWrite(l->context);
    l->flushing = false;
    leave(l);
}

static void on_flush(evutil_socket_t fd, short what, void *ctx) {
    struct redis_loop *l = ctx;
    l->late = !l->late;
    if (l->late)
        event_active(l->flush, EV_TIMEOUT, 0);
    else
        on_write(fd, what, ctx);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
    struct redis_loop *l = ctx;
    (void)fd, (void)what;
    enter(l);
    if (l->context) redisAsyncHandleTimeout(l->context);
    leave(l);
}

/* What hiredis asks for */

static void add_read(void *data) {
    struct redis_loop *l = data;
    if (!event_pending(l->read, EV_READ, NULL)) event_add(l->read, NULL);
}

static void delete_read(void *data) { event_del(((struct redis_loop *)data)->read); }

static void add_write(void *data) {
    struct redis_loop *l = data;
    bool connected = l->context->c.flags & REDIS_CONNECTED;
    if (connected && !l->flushing && !event_pending(l->write, EV_WRITE, NULL))
        event_active(l->flush, EV_TIMEOUT, 0);
    else if (!event_pending(l->write, EV_WRITE, NULL))
        event_add(l->write, NULL);
}

static void delete_write(void *data) { event_del(((struct redis_loop *)data)->write); }

static void schedule_timer(void *data, struct timeval wait) { event_add(((struct redis_loop *)data)->timer, &wait); }

static void cleanup(void *data) {
    struct redis_loop *l = data;
    l->context = NULL;
    event_del(l->read);
    event_del(l->write);
    event_del(l->flush);
    event_del(l->timer);
    if (!l->busy) loop_free(l);
}

void redis_loop_attach(redisAsyncContext *context, struct event_base *base) {
    struct redis_loop *l = memory_alloc(sizeof *l);
    l->context = context;
    l->read = event_new(base, context->c.fd, EV_READ | EV_PERSIST, on_read, l);
    l->write = event_new(base, context->c.fd, EV_WRITE | EV_PERSIST, on_write, l);
    l->flush = event_new(base, -1, 0, on_flush, l);
    l->timer = evtimer_new(base, on_timer, l);
    if (!l->read || !l->write || !l->flush || !l->timer) memory_exhausted();
    context->ev.data = l;
    context->ev.addRead = add_read;
    context->ev.delRead = delete_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = delete_write;
    context->ev.scheduleTimer = schedule_timer;
    context->ev.cleanup = cleanup;
}
