#include "libcommon/net/host_lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/base/arena.h"

enum { ADDRESS_BYTES = 64, STACK_BYTES = 256 * 1024 };

/* Shared by the loop and the thread; the last one to release it frees it. The results belong to the
 * thread until it writes to fd. */
struct host_lookup {
    _Atomic int holders;
    int fd;
    char *host;
    size_t count;
    char addresses[HOST_LOOKUP_MAX][ADDRESS_BYTES];
    char reason[128];
    struct event *ready;
    host_lookup_fn *told;
    void *ctx;
};

static void let_go(struct host_lookup *r) {
    if (atomic_fetch_sub(&r->holders, 1) > 1) return;
    close(r->fd);
    free(r->host);
    free(r);
}

static void look_up(struct host_lookup *r) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int error = getaddrinfo(r->host, NULL, &hints, &list);
    for (const struct addrinfo *a = list; a && !error && r->count < HOST_LOOKUP_MAX; a = a->ai_next)
        if (getnameinfo(a->ai_addr, a->ai_addrlen, r->addresses[r->count], ADDRESS_BYTES, NULL, 0, NI_NUMERICHOST) == 0)
            r->count++;
    snprintf(r->reason, sizeof r->reason, "%s", error ? gai_strerror(error) : "the name has no address");
    if (list) freeaddrinfo(list);
}

static void *run(void *ctx) {
    struct host_lookup *r = ctx;
    look_up(r);
    eventfd_write(r->fd, 1);
    let_go(r);
    return NULL;
}

static void on_ready(evutil_socket_t fd, short what, void *ctx) {
    struct host_lookup *r = ctx;
    const char *addresses[HOST_LOOKUP_MAX];
    (void)fd, (void)what;
    for (size_t i = 0; i < r->count; i++) addresses[i] = r->addresses[i];
    event_free(r->ready);
    r->told(r->ctx, r->count, addresses, r->reason);
    let_go(r);
}

static int start_thread(struct host_lookup *r) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) return -1;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error ? -1 : 0;
}

static bool is_numeric(const char *host) {
    unsigned char bytes[16];
    return evutil_inet_pton(AF_INET, host, bytes) == 1 || evutil_inet_pton(AF_INET6, host, bytes) == 1;
}

struct host_lookup *host_lookup_start(struct event_base *base, const char *host, host_lookup_fn *told, void *ctx) {
    struct host_lookup *r = memory_alloc(sizeof *r);
    r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r->host = memory_copy(slice_of(host));
    r->told = told;
    r->ctx = ctx;
    r->ready = event_new(base, r->fd, EV_READ, on_ready, r);
    if (r->fd < 0 || !r->ready) memory_exhausted();
    event_add(r->ready, NULL);
    atomic_store(&r->holders, 2);
    if (is_numeric(host)) {
        snprintf(r->addresses[r->count++], ADDRESS_BYTES, "%s", host);
    } else if (start_thread(r) == 0) {
        return r;
    } else {
        snprintf(r->reason, sizeof r->reason, "no thread can be started");
    }
    atomic_store(&r->holders, 1);
    eventfd_write(r->fd, 1);
    return r;
}

void host_lookup_cancel(struct host_lookup *r) {
    if (!r) return;
    event_free(r->ready);
    let_go(r);
}
