/* Shared declarations of the files of this folder; private to them. */
#ifndef POSTBUS_SERVICE_PRIVATE_H
#define POSTBUS_SERVICE_PRIVATE_H

#include <event2/listener.h>
#include <pthread.h>
#include <stdatomic.h>

#include "libcommon/net/proxy_header.h"
#include "libcommon/service/service.h"

enum { WORKERS_MAX = 64, LISTENERS_MAX = 8, DRAIN_SECONDS = 20 };

struct pool_home;
struct proxy_waiting;

/* A worker with its private fields. `public` is first, so that a struct worker * is a struct
 * worker_full *. */
struct worker_full {
    struct worker public;
    const struct service *definition;
    pthread_t thread;
    struct event *drain, *offload_done;
    struct pool_home *offloads;
    struct evconnlistener *listeners[LISTENERS_MAX];
    void *accepts[LISTENERS_MAX];
    int listener_count;
    struct proxy_waiting *waiting; /* connections of proxies without their header */
    int waiting_count;
    _Atomic bool drained, ended;
    struct event *tls_check; /* NULL where the service has no TLS */
    uint64_t tls_mark;       /* of the files that were read last */
};

/* proxy_wait.c: the networks of POSTBUS_PROXY_NETWORKS, or the end of the process. */
void proxy_configure(struct proxy_networks *networks);
/* Calls accepted when the PROXY header of a connection has come, or closes it. */
void proxy_wait(struct worker_full *w, evutil_socket_t fd, service_accept_fn *accepted, void *ctx);
void proxy_close_all(struct worker_full *w);

void offload_start(struct worker_full *w);
void offload_stop(struct worker_full *w);

/* Loads w->public.tls, or ends the process; then follows changes of the files. */
void tls_files_start(struct worker_full *w);
void tls_files_stop(struct worker_full *w);

/* The HTTP listener for metrics and health, on the main thread's loop. ready(): whether every
 * worker has its bus and its store. */
void side_door_open(struct event_base *base, const char *address, bool (*ready)(struct buf *why));

#endif
