/* The HTTP server of a worker: libmicrohttpd's epoll set inside the worker's loop. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "services/admin/admin.h"
#include "services/admin/https.h"

static struct metric requests_total = METRIC_COUNTER("postbus_admin_requests_total", "HTTP requests answered");
static struct metric requests_failed =
    METRIC_COUNTER("postbus_admin_requests_unavailable_total", "HTTP requests answered with 5xx");

/* The loop */

static void turn(struct admin *a) {
    uint64_t wait, soonest = 1000;
    https_use(a->https);
    for (int i = 0; i < LISTENERS; i++) {
        if (!a->listeners[i].daemon) continue;
        MHD_run(a->listeners[i].daemon);
        if (MHD_get_timeout64(a->listeners[i].daemon, &wait) == MHD_YES && wait < soonest) soonest = wait;
    }
    struct timeval when = {.tv_sec = (time_t)(soonest / 1000), .tv_usec = (suseconds_t)(soonest % 1000 * 1000)};
    evtimer_add(a->clock, &when);
    if (a->draining && !a->requests && !a->journal_busy) service_drained(a->worker);
}

static void on_turn(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    turn(ctx);
}

/* A request */

static struct request *request_create(const struct http_listener *l, struct MHD_Connection *connection,
                                      const char *method, const char *path) {
    struct request *r = memory_alloc(sizeof *r);
    struct admin *a = l->admin;
    r->admin = a;
    r->site = l->site;
    r->connection = connection;
    r->method = memory_copy(slice_of(method));
    r->path = memory_copy(slice_of(path));
    r->next = a->requests;
    if (r->next) r->next->previous = r;
    a->requests = r;
    return r;
}

static void request_free(struct request *r) {
    if (r->previous)
        r->previous->next = r->next;
    else
        r->admin->requests = r->next;
    if (r->next) r->next->previous = r->previous;
    if (r->held) *r->held = NULL;
    r->admin->message_bytes -= r->message_bytes;
    if (r->response) MHD_destroy_response(r->response);
    json_decref(r->json);
    json_decref(r->state);
    buf_free(&r->body);
    free(r->method);
    free(r->path);
    free(r->part);
    free(r);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **own) {
    struct request *r = *own;
    (void)version;
    if (!r) {
        r = *own = request_create(ctx, connection, method, url);
        r->body_max = route_body_max(r);
        return MHD_YES;
    }
    if (*size) {
        /* the body is read to its end, so that the client reads the answer, but not stored */
        r->too_big = r->too_big || r->body.n + *size > r->body_max;
        r->no_room = r->no_room || (r->body_max > BODY_MAX && !r->too_big && !request_take_room(r, *size));
        if (!r->too_big && !r->no_room) buf_add(&r->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (!r->started) {
        r->started = true;
        if (r->too_big)
            request_problem(
                r, 413, r->body_max > BODY_MAX ? "a message may have at most 50 MiB" : "a body may have at most 1 MiB");
        else if (r->no_room)
            request_problem(r, 503, "too many messages are being read or written: try again");
        else
            route_request(r);
        if (!r->response) {
            request_wait(r);
            return MHD_YES;
        }
    }
    if (!r->response) return MHD_NO;
    metric_add(&requests_total, 1);
    if (r->status >= 500) metric_add(&requests_failed, 1);
    char status[8];
    snprintf(status, sizeof status, "%u", r->status);
    log_info("request", "method", r->method, "path", r->path, "status", status, NULL);
    return MHD_queue_response(connection, r->status, r->response);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **own,
                         enum MHD_RequestTerminationCode why) {
    (void)ctx, (void)connection, (void)why;
    if (*own) request_free(*own);
    *own = NULL;
}

/* Listening */

static void on_library_log(void *ctx, const char *format, va_list arguments) {
    char text[512];
    (void)ctx;
    vsnprintf(text, sizeof text, format, arguments);
    log_debug("http library", "text", text, NULL);
}

void http_listen(struct admin *a, enum http_site site, bool tls, const char *setting, const char *fallback) {
    const char *address = config_text(setting, fallback);
    struct http_listener *l = a->listeners;
    struct sockaddr_storage where;
    int n = sizeof where;
    if (!a->clock) {
        a->clock = evtimer_new(a->worker->base, on_turn, a);
        struct timeval soon = {0};
        evtimer_add(a->clock, &soon);
    }
    if (strcmp(address, "off") == 0) return;
    memset(&where, 0, sizeof where);
    if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&where, &n) != 0)
        config_refuse(setting, "expected address:port, such as [::]:8080, or off");
    while (l->daemon) l++;
    *l = (struct http_listener){.admin = a, .site = site};
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     (where.ss_family == AF_INET6 ? MHD_USE_DUAL_STACK : 0) | (tls ? MHD_USE_TLS : 0);
    struct MHD_OptionItem secure[] = {{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)https_choose},
                                      {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    l->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, l, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
                                 MHD_OPTION_SOCK_ADDR, &where, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                                 (unsigned)CONNECTION_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                 (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                                 MHD_OPTION_ARRAY, tls ? secure : plain, MHD_OPTION_END);
    if (!l->daemon) config_refuse(setting, "cannot listen there: the port is taken or the address is not of this host");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    l->turn = event_new(a->worker->base, info->epoll_fd, EV_READ | EV_PERSIST, on_turn, a);
    event_add(l->turn, NULL);
    if (a->worker->index == 0) log_info("listening", "setting", setting, "address", address, NULL);
}

void http_quiesce(struct admin *a) {
    a->draining = true;
    for (int i = 0; i < LISTENERS; i++) {
        if (!a->listeners[i].daemon) continue;
        MHD_socket s = MHD_quiesce_daemon(a->listeners[i].daemon);
        if (s != MHD_INVALID_SOCKET) close(s);
    }
    event_active(a->clock, EV_TIMEOUT, 0);
}

void http_close(struct admin *a) {
    for (struct request *r = a->requests; r; r = r->next)
        if (r->suspended) { /* the library requires that they are resumed before it stops */
            r->suspended = false;
            MHD_resume_connection(r->connection);
        }
    for (int i = 0; i < LISTENERS; i++) {
        if (a->listeners[i].turn) event_free(a->listeners[i].turn);
        if (a->listeners[i].daemon) MHD_stop_daemon(a->listeners[i].daemon);
    }
    if (a->clock) event_free(a->clock);
}
