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
            request_problem(r, 413, r->body_max > BODY_MAX ? "a message may have at most 50 MiB" : "a body may have at most 1 MiB");
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

bool request_take_room(struct request *r, size_t n) {
    if (r->admin->message_bytes + n > MESSAGES_MAX) return false;
    r->admin->message_bytes += n;
    r->message_bytes += n;
    return true;
}

void request_wait(struct request *r) {
    if (r->suspended || r->response) return;
    r->suspended = true;
    MHD_suspend_connection(r->connection);
}

/* Queues the answer, and resumes the connection if it is suspended. */
static void respond(struct request *r, unsigned status, struct MHD_Response *response, const char *type) {
    if (r->response) {
        MHD_destroy_response(response);
        return;
    }
    r->status = status;
    r->response = response;
    if (type) request_header(r, "Content-Type", type);
    request_header(r, "Cache-Control", "no-store");
    request_header(r, "X-Content-Type-Options", "nosniff");
    if (status == 401) request_header(r, "WWW-Authenticate", "Bearer realm=\"postbus\"");
    if (status == 503) request_header(r, "Retry-After", "5");
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
        event_active(r->admin->clock, EV_TIMEOUT, 0);
    }
}

void request_header(struct request *r, const char *name, const char *value) {
    MHD_add_response_header(r->response, name, value);
}

void request_answer_text(struct request *r, unsigned status, const char *type, struct slice text) {
    respond(r, status, MHD_create_response_from_buffer_copy(text.n, text.p), type);
}

static void answer_json(struct request *r, unsigned status, json_t *body, const char *type) {
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!text) text = memory_copy(SLICE("{}"));
    request_answer_text(r, status, type, slice_of(text));
    free(text);
}

void request_answer(struct request *r, unsigned status, json_t *body) {
    if (body)
        answer_json(r, status, body, "application/json");
    else
        respond(r, status, MHD_create_response_empty(MHD_RF_NONE), NULL);
}

void request_problem_fields(struct request *r, unsigned status, const char *detail, json_t *errors) {
    answer_json(r, status, problem_create(status, detail, errors), "application/problem+json");
}

void request_problem(struct request *r, unsigned status, const char *detail) {
    request_problem_fields(r, status, detail, NULL);
}

void request_problem_bus(struct request *r, const json_t *reply) {
    const char *message = json_string_value(json_object_get(json_object_get(reply, "error"), "message"));
    request_problem(r, problem_status(bus_error_code(reply)),
                    message ? message : "a part of the system does not answer: try again");
}

/* Asking */

static void on_reply(void *ctx, int error, const json_t *reply) {
    struct request *r = ctx;
    r->then(r, error, reply);
}

void request_ask(struct request *r, const char *verb, json_t *ask, int timeout_ms, request_reply_fn *then) {
    r->then = then;
    bus_request(r->admin->worker->bus, verb, ask, timeout_ms, on_reply, r);
}

const char *request_query(const struct request *r, const char *name) {
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}
const char *request_head(const struct request *r, const char *name) {
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

bool request_page(struct request *r, json_t *ask) {
    const char *limit = request_query(r, "limit"), *after = request_query(r, "after");
    uint64_t n = 100;
    if (limit && (slice_to_u64(slice_of(limit), PAGE_MAX, &n) != 0 || n == 0)) {
        json_decref(ask);
        request_problem(r, 400, "limit is a number from 1 to 1000");
        return false;
    }
    json_object_set_new(ask, "limit", json_integer((json_int_t)n));
    if (after) json_object_set_new(ask, "after", json_string(after));
    return true;
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
