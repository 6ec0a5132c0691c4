/* /metrics and /healthz for people and orchestrators, on a port of their own. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdio.h>

#include "libcommon/base/config.h"
#include "libcommon/service/service_private.h"

enum { BODY_MAX = 1024, HEADERS_MAX = 8192, REQUEST_SECONDS = 10 };

static bool (*is_ready)(struct buf *why);

static void answer(struct evhttp_request *request, int code, const char *reason, const char *type, struct slice text) {
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, text.p, text.n);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
    evhttp_send_reply(request, code, reason, body);
    evbuffer_free(body);
}

static void on_metrics(struct evhttp_request *request, void *unused) {
    struct buf text = {0};
    (void)unused;
    metrics_write(&text);
    answer(request, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", buf_slice(&text));
    buf_free(&text);
}

/* 200 while the process works and its bus and store are connected; otherwise 503 with the reason.
 * With ?live, 200 whenever the process answers. */
static void on_health(struct evhttp_request *request, void *unused) {
    struct buf why = {0};
    (void)unused;
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    if ((query && strcmp(query, "live") == 0) || is_ready(&why))
        answer(request, 200, "OK", "application/json", SLICE("{\"status\":\"ok\"}\n"));
    else
        answer(request, 503, "Service Unavailable", "application/json", buf_slice(&why));
    buf_free(&why);
}

void side_door_open(struct event_base *base, const char *address, bool (*ready)(struct buf *why)) {
    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host)
        config_refuse("POSTBUS_HTTP", "expected address:port, such as 0.0.0.0:9090");
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    uint64_t port;
    if (slice_to_u64(slice_of(colon + 1), 65535, &port) != 0)
        config_refuse("POSTBUS_HTTP", "expected address:port, such as 0.0.0.0:9090");
    is_ready = ready;
    struct evhttp *http = evhttp_new(base);
    evhttp_set_timeout(http, REQUEST_SECONDS);
    evhttp_set_max_body_size(http, BODY_MAX);
    evhttp_set_max_headers_size(http, HEADERS_MAX);
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_cb(http, "/metrics", on_metrics, NULL);
    evhttp_set_cb(http, "/healthz", on_health, NULL);
    if (evhttp_bind_socket(http, host, (uint16_t)port) != 0)
        config_refuse("POSTBUS_HTTP", "cannot listen there: the port is taken or the address is not of this host");
}
