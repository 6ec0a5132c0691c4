/* Connections of proxies (POSTBUS_PROXY_NETWORKS): each waits until its PROXY header is complete;
 * then the service gets it, with the client's address. Only the header's bytes are read from the
 * socket. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/service/service_private.h"

enum { WAIT_SECONDS = 5, WAITING_MAX = 1000 }; /* connections of a worker; beyond, and later: closed */

struct proxy_waiting {
    struct worker_full *worker;
    evutil_socket_t fd;
    struct event *event;
    service_accept_fn *accepted;
    void *ctx;
    struct proxy_waiting *previous, *next;
};

void proxy_configure(struct proxy_networks *networks) {
    const char *name = "POSTBUS_PROXY_NETWORKS";
    if (!proxy_networks_parse(slice_of(config_text(name, "")), networks))
        config_refuse(name, "expected networks such as 10.0.0.0/8, fd00::/8");
}

static void forget(struct proxy_waiting *w) {
    if (w->previous)
        w->previous->next = w->next;
    else
        w->worker->waiting = w->next;
    if (w->next) w->next->previous = w->previous;
    w->worker->waiting_count--;
    event_free(w->event);
    free(w);
}

static void refuse(struct proxy_waiting *w, const char *why) {
    log_info("a proxy's connection was closed", "reason", why, NULL);
    evutil_closesocket(w->fd);
    forget(w);
}

/* Wakes only when there are more bytes than these. */
static void wake_at(evutil_socket_t fd, int bytes) { setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes); }

static void on_bytes(evutil_socket_t fd, short what, void *ctx) {
    struct proxy_waiting *w = ctx;
    char bytes[PROXY_HEADER_MAX];
    struct proxy_header header;
    if (what & EV_TIMEOUT) {
        refuse(w, "no PROXY header in time");
        return;
    }
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        refuse(w, "closed by peer");
        return;
    }
    int length = proxy_header_parse(slice_make(bytes, (size_t)n), &header);
    if (length < 0) {
        refuse(w, "not a PROXY header");
    } else if (length == 0) {
        wake_at(fd, (int)n + 1);
    } else if (recv(fd, bytes, (size_t)length, 0) != length) {
        refuse(w, "cannot be read");
    } else {
        struct worker *worker = &w->worker->public;
        service_accept_fn *accepted = w->accepted;
        void *target = w->ctx;
        wake_at(fd, 1);
        forget(w);
        accepted(worker, fd, header.has_client ? (struct sockaddr *)&header.client : NULL, target);
    }
}

void proxy_wait(struct worker_full *worker, evutil_socket_t fd, service_accept_fn *accepted, void *ctx) {
    struct timeval wait = {WAIT_SECONDS, 0};
    if (worker->waiting_count == WAITING_MAX) {
        evutil_closesocket(fd);
        return;
    }
    struct proxy_waiting *w = memory_alloc(sizeof *w);
    *w = (struct proxy_waiting){.worker = worker, .fd = fd, .accepted = accepted, .ctx = ctx, .next = worker->waiting};
    if (w->next) w->next->previous = w;
    worker->waiting = w;
    worker->waiting_count++;
    evutil_make_socket_nonblocking(fd);
    w->event = event_new(worker->public.base, fd, EV_READ | EV_PERSIST, on_bytes, w);
    event_add(w->event, &wait);
}

void proxy_close_all(struct worker_full *worker) {
    while (worker->waiting)
        refuse(worker->waiting, "the service ends"); // NOLINT(clang-analyzer-unix.Malloc): it is unlinked
}
