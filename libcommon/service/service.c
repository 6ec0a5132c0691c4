#include "libcommon/service/service.h"

#include <event2/thread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/log.h"
#include "libcommon/base/pool.h"
#include "libcommon/service/service_private.h"

enum { BACKLOG = 1024, DEFAULT_WORKERS_MAX = 4, LAST_TURNS = 8 };

/* The process: written by the main thread before the workers start. */
static struct {
    const struct service *definition;
    struct worker_full *workers[WORKERS_MAX];
    int count;
    struct event_base *base;
    struct event *ended;
    struct proxy_networks proxies;
    _Atomic bool draining;
} process;

bool service_is_draining(void) { return atomic_load(&process.draining); }

int service_workers(void) { return process.count; }

void service_drained(struct worker *public) {
    struct worker_full *w = (struct worker_full *)public;
    if (!atomic_exchange(&w->drained, true)) event_base_loopexit(public->base, NULL);
}

static void on_drain(evutil_socket_t fd, short what, void *ctx) {
    struct worker_full *w = ctx;
    (void)fd, (void)what;
    for (int i = 0; i < w->listener_count; i++) evconnlistener_free(w->listeners[i]);
    w->listener_count = 0;
    proxy_close_all(w);
    if (w->definition->drain)
        w->definition->drain(&w->public);
    else
        service_drained(&w->public);
}

/* Listening */

struct accept_target {
    struct worker *worker;
    service_accept_fn *accepted;
    void *ctx;
};

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int n, void *ctx) {
    struct accept_target *t = ctx;
    (void)listener, (void)n;
    if (proxy_networks_have(&process.proxies, address))
        proxy_wait((struct worker_full *)t->worker, fd, t->accepted, t->ctx);
    else
        t->accepted(t->worker, fd, NULL, t->ctx);
}

/* No file descriptors are left: waits a little instead of looping; clients stay in the kernel's
 * backlog. */
static void on_listener_again(evutil_socket_t fd, short what, void *listener) {
    (void)fd, (void)what;
    if (!service_is_draining()) evconnlistener_enable(listener); /* when draining, it was freed */
}

static void on_accept_error(struct evconnlistener *listener, void *ctx) {
    struct timeval wait = {0, 100000};
    struct accept_target *t = ctx;
    log_warn("cannot accept a connection", "reason", evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()), NULL);
    evconnlistener_disable(listener);
    event_base_once(t->worker->base, -1, EV_TIMEOUT, on_listener_again, listener, &wait);
}

void service_listen(struct worker *public, const char *setting, const char *fallback, service_accept_fn *accepted,
                    void *ctx) {
    struct worker_full *w = (struct worker_full *)public;
    const char *address = config_text(setting, fallback);
    struct sockaddr_storage a;
    int n = sizeof a;
    if (strcmp(address, "off") == 0) return;
    if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&a, &n) != 0)
        config_refuse(setting, "expected an address and port, such as [::]:25 or 0.0.0.0:25, or off");
    struct accept_target *t = memory_alloc(sizeof *t);
    *t = (struct accept_target){public, accepted, ctx};
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE | LEV_OPT_REUSEABLE_PORT;
    struct evconnlistener *listener =
        evconnlistener_new_bind(public->base, on_accept, t, flags, BACKLOG, (struct sockaddr *)&a, n);
    if (!listener && strncmp(address, "[::]:", 5) == 0) { /* a host without IPv6 */
        char v4[64];
        snprintf(v4, sizeof v4, "0.0.0.0:%s", address + 5);
        n = sizeof a;
        if (evutil_parse_sockaddr_port(v4, (struct sockaddr *)&a, &n) == 0)
            listener = evconnlistener_new_bind(public->base, on_accept, t, flags, BACKLOG, (struct sockaddr *)&a, n);
    }
    if (!listener || w->listener_count == LISTENERS_MAX)
        config_refuse(setting, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    evconnlistener_set_error_cb(listener, on_accept_error);
    w->accepts[w->listener_count] = t;
    w->listeners[w->listener_count++] = listener;
    if (public->index == 0) log_info("listening", "address", address, NULL);
}

/* A worker */

static void *worker_thread(void *ctx) {
    struct worker_full *w = ctx;
    /* like event_base_dispatch, but turn by turn, so that the turns can be counted */
    while (event_base_loop(w->public.base, EVLOOP_ONCE) == 0 && !event_base_got_exit(w->public.base))
        cost_add(COST_WAKEUPS, 1);
    if (w->definition->stop) w->definition->stop(&w->public);
    bus_close(w->public.bus); /* first, because its callbacks may use the store, and those of the
                                 store may answer on the bus */
    redis_destroy(w->public.redis);
    bus_destroy(w->public.bus);
    /* the last output to clients is sent, as far as their sockets accept it (stream_finish) */
    for (int turn = 0; turn < LAST_TURNS; turn++) event_base_loop(w->public.base, EVLOOP_NONBLOCK);
    for (int i = 0; i < LISTENERS_MAX; i++) free(w->accepts[i]);
    event_free(w->drain);
    offload_stop(w);
    tls_files_stop(w);
    event_base_free(w->public.base);
    atomic_store(&w->ended, true);
    event_active(process.ended, EV_TIMEOUT, 0);
    return NULL;
}

static struct worker_full *worker_create(int index, const char *nats_password, const char *redis_password) {
    const struct service *d = process.definition;
    struct worker_full *w = memory_alloc(sizeof *w);
    w->definition = d;
    w->public.index = index;
    w->public.hostname = config_text("POSTBUS_HOSTNAME", "localhost");
    w->public.base = event_base_new();
    if (!w->public.base) memory_exhausted();
    w->drain = event_new(w->public.base, -1, EV_PERSIST, on_drain, w);
    offload_start(w);
    struct timeval never = {100000, 0}; /* keeps the loop turning when nothing else is registered */
    event_add(w->drain, &never);
    w->public.bus = bus_create(w->public.base, config_text("POSTBUS_NATS", "nats://nats:4222"), d->name,
                               nats_password ? d->name : NULL, nats_password);
    if (!d->without_redis)
        w->public.redis = redis_create(w->public.base, config_text("POSTBUS_REDIS", "redis:6379"),
                                       redis_password ? d->name : NULL, redis_password);
    if (d->tls) tls_files_start(w);
    d->start(&w->public);
    return w;
}

/* The process */

static bool all_ready(struct buf *why) {
    bool bus = true, store = true;
    for (int i = 0; i < process.count; i++) {
        bus = bus && bus_is_ready(process.workers[i]->public.bus);
        store = store && (!process.workers[i]->public.redis || redis_is_ready(process.workers[i]->public.redis));
    }
    if (bus && store && !service_is_draining()) return true;
    buf_printf(why, "{\"status\":\"unavailable\",\"bus\":%s,\"store\":%s,\"draining\":%s}\n", bus ? "true" : "false",
               store ? "true" : "false", service_is_draining() ? "true" : "false");
    return false;
}

static void on_drain_late(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what, (void)ctx;
    log_warn("some work did not finish in time; ending now", NULL);
    _exit(0);
}

static void on_signal(evutil_socket_t signal_number, short what, void *ctx) {
    (void)what, (void)ctx;
    if (atomic_exchange(&process.draining, true)) return;
    log_info("draining", "signal", signal_number == SIGTERM ? "TERM" : "INT", NULL);
    for (int i = 0; i < process.count; i++) event_active(process.workers[i]->drain, EV_TIMEOUT, 0);
    struct timeval wait = {process.definition->drain_seconds ? process.definition->drain_seconds : DRAIN_SECONDS, 0};
    event_base_once(process.base, -1, EV_TIMEOUT, on_drain_late, NULL, &wait);
}

static void on_ended(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what, (void)ctx;
    for (int i = 0; i < process.count; i++)
        if (!atomic_load(&process.workers[i]->ended)) return;
    event_base_loopexit(process.base, NULL);
}

static long default_workers(const struct service *definition, long cores) {
    long workers = definition->many_workers ? cores : cores / 2;
    return workers < 1 ? 1 : workers > DEFAULT_WORKERS_MAX ? DEFAULT_WORKERS_MAX : workers;
}

int service_run(const struct service *definition) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    process.definition = definition;
    log_init(definition->name, config_text("POSTBUS_LOG", "info"));
    if (sodium_init() < 0) {
        log_error("no source of random numbers", NULL);
        return 71;
    }
    signal(SIGPIPE, SIG_IGN);
    evthread_use_pthreads();
    process.base = event_base_new();
    process.ended = event_new(process.base, -1, EV_PERSIST, on_ended, NULL);
    process.count = (int)config_number("POSTBUS_WORKERS", default_workers(definition, cores), 1, WORKERS_MAX);
    proxy_configure(&process.proxies);
    if (definition->configure) definition->configure();
    pool_threads(cores < 1 ? 1 : (int)cores);
    char *nats_password = config_secret("nats.password", false),
         *redis_password = config_secret("redis.password", false);
    for (int i = 0; i < process.count; i++) process.workers[i] = worker_create(i, nats_password, redis_password);
    free(nats_password);
    free(redis_password);
    side_door_open(process.base, config_text("POSTBUS_HTTP", "0.0.0.0:9090"), all_ready);
    struct event *term = evsignal_new(process.base, SIGTERM, on_signal, NULL),
                 *interrupt = evsignal_new(process.base, SIGINT, on_signal, NULL);
    event_add(term, NULL);
    event_add(interrupt, NULL);
    for (int i = 0; i < process.count; i++)
        pthread_create(&process.workers[i]->thread, NULL, worker_thread, process.workers[i]);
    log_info("started", NULL);
    event_base_dispatch(process.base);
    for (int i = 0; i < process.count; i++) {
        pthread_join(process.workers[i]->thread, NULL);
        free(process.workers[i]);
    }
    log_info("ended", NULL);
    return 0;
}
