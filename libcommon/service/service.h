/* The start-up of all services: settings, log, signals, workers, listeners, the HTTP listener for
 * metrics and health, draining.
 *
 * main() of a service is:
 *   static const struct service definition = {
 *       .name = "smtpd", .start = smtpd_start, .drain = smtpd_drain, .stop = smtpd_stop};
 *   int main(void) { return service_run(&definition); }
 *
 * SIGTERM: listeners close, drain() is called on every worker (it completes running work and sends
 * 421/BYE to idle clients), and the process ends when every worker has called service_drained(), or
 * after the service's drain_seconds. */
#ifndef POSTBUS_SERVICE_SERVICE_H
#define POSTBUS_SERVICE_SERVICE_H

#include <event2/event.h>
#include <openssl/ssl.h>

#include "libcommon/base/metrics.h"
#include "libcommon/bus/bus.h"
#include "libcommon/store/redis.h"

/* One thread: its loop and its connections. `state` belongs to the service. */
struct worker {
    int index;
    struct event_base *base;
    struct bus *bus;
    struct redis *redis;  /* NULL where the service has no store */
    SSL_CTX *tls;         /* for new connections; replaced when the certificate files change, so it
                             must not be stored; NULL if definition.tls is false */
    const char *hostname; /* POSTBUS_HOSTNAME */
    void *state;
};

struct service {
    const char *name;
    bool without_redis;
    int drain_seconds; /* time limit of draining; 0: 20 */
    bool tls;
    bool many_workers;               /* most of the work is its own arithmetic (TLS records,
                                        searching): a worker a core. Else a worker for two cores:
                                        the requests, writes and events that one turn of a loop does
                                        together cost less than the same ones spread over several
                                        loops */
    void (*configure)(void);         /* once, before the workers: read settings; may be NULL */
    void (*start)(struct worker *w); /* for each worker, before its loop turns: subscribe, listen,
                                        set w->state */
    void (*drain)(struct worker *w); /* may be NULL */
    void (*stop)(struct worker *w);  /* free everything; may be NULL */
};

int service_run(const struct service *definition);
/* The worker has nothing left to finish. */
void service_drained(struct worker *w);
/* How many workers this process has. */
int service_workers(void);
/* Whether SIGTERM came. */
bool service_is_draining(void);

/* Listens on the address of a setting ("[::]:25", "0.0.0.0:25"; "off" or empty: not at all) with
 * SO_REUSEPORT, so that each worker has its own socket. Called in start(). */
/* client: whom a proxy connected for (POSTBUS_PROXY_NETWORKS); NULL: the socket's peer. To be passed
 * to stream_accept. */
typedef void service_accept_fn(struct worker *w, evutil_socket_t fd, const struct sockaddr *client, void *ctx);
void service_listen(struct worker *w, const char *setting, const char *fallback, service_accept_fn *accepted,
                    void *ctx);

/* Runs a costly computation (argon2, RSA) outside the loop: run() on a thread of the pool (one for
 * each core), then done() on the worker's loop. */
void service_offload(struct worker *w, void (*run)(void *job), void (*done)(void *job), void *job);

#endif
