#include "services/verifier/policy/http.h"

#include <curl/curl.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/base/config.h"
#include "libcommon/net/address.h"
#include "services/verifier/dns/stub_zones.h"

struct fetch {
    struct http *http;
    struct fetch *next, *previous;
    CURL *easy;
    struct curl_slist *resolve;
    struct buf body;
    struct event *soon; /* reports that it never began */
    bool too_large, busy, may_be_private, private_address;
    http_done_fn *done;
    void *ctx;
    char error[CURL_ERROR_SIZE];
};

struct http {
    struct event_base *base;
    CURLM *multi;
    struct event *timer;
    struct fetch *fetches;
    int in_flight;
    bool private_destinations;
    char *ca_file;
};

/* One socket of libcurl's on the loop. */
struct watch {
    struct http *http;
    struct event *event;
};

static void fetch_destroy(struct fetch *f) {
    if (f->previous)
        f->previous->next = f->next;
    else
        f->http->fetches = f->next;
    if (f->next) f->next->previous = f->previous;
    f->http->in_flight--;
    if (f->easy) {
        curl_multi_remove_handle(f->http->multi, f->easy);
        curl_easy_cleanup(f->easy);
    }
    if (f->soon) event_free(f->soon);
    curl_slist_free_all(f->resolve);
    buf_free(&f->body);
    free(f);
}

static void collect_finished(struct http *h) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(h->multi, &left))) {
        if (message->msg != CURLMSG_DONE) continue;
        struct fetch *f = NULL;
        long status = 0;
        const char *type = NULL;
        CURLcode code = message->data.result;
        struct http_answer answer = {.reason = ""};
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(message->easy_handle, CURLINFO_CONTENT_TYPE, &type);
        answer.content_type = type ? type : "";
        if (code == CURLE_OK) {
            answer.status = (int)status;
            answer.body = buf_slice(&f->body);
        } else {
            answer.untrusted = code == CURLE_PEER_FAILED_VERIFICATION;
            answer.reason = f->too_large         ? "the answer is too large"
                            : f->private_address ? "the host has no public address"
                            : f->error[0]        ? f->error
                                                 : curl_easy_strerror(code);
        }
        f->done(f->ctx, &answer);
        fetch_destroy(f);
    }
}

static void on_socket_ready(evutil_socket_t fd, short what, void *ctx) {
    struct http *h = ctx;
    int running, flags = 0;
    if (what & EV_READ) flags |= CURL_CSELECT_IN;
    if (what & EV_WRITE) flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(h->multi, fd, flags, &running);
    collect_finished(h);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct http *h = ctx;
    int running;
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_finished(h);
}

static int set_timer(CURLM *multi, long ms, void *ctx) {
    (void)multi;
    struct http *h = ctx;
    if (ms < 0) {
        event_del(h->timer);
    } else {
        struct timeval delay = {ms / 1000, (ms % 1000) * 1000};
        event_add(h->timer, &delay);
    }
    return 0;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx) {
    (void)easy;
    struct http *h = ctx;
    struct watch *watch = socket_ctx;
    if (watch) event_free(watch->event);
    if (what == CURL_POLL_REMOVE) {
        free(watch);
        return 0;
    }
    if (!watch) {
        watch = memory_alloc(sizeof *watch);
        watch->http = h;
        curl_multi_assign(h->multi, fd, watch);
    }
    short events = EV_PERSIST;
    if (what & CURL_POLL_IN) events |= EV_READ;
    if (what & CURL_POLL_OUT) events |= EV_WRITE;
    watch->event = event_new(h->base, fd, events, on_socket_ready, h);
    if (!watch->event) memory_exhausted();
    event_add(watch->event, NULL);
    return 0;
}

struct http *http_create(struct event_base *base, const char *ca_file, bool private_destinations) {
    struct http *h = memory_alloc(sizeof *h);
    h->base = base;
    h->private_destinations = private_destinations;
    h->ca_file = ca_file && *ca_file ? memory_copy(slice_of(ca_file)) : NULL;
    h->multi = curl_multi_init();
    h->timer = event_new(base, -1, 0, on_timer, h);
    if (!h->multi || !h->timer) memory_exhausted();
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    return h;
}

void http_destroy(struct http *h) {
    if (!h) return;
    while (h->fetches) fetch_destroy(h->fetches); // NOLINT(clang-analyzer-unix.Malloc): each takes itself off the list
    curl_multi_cleanup(h->multi);
    event_free(h->timer);
    free(h->ca_file);
    free(h);
}

/* The address comes from another domain's zone, so it must not lead into this site's own
 * network. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address) {
    struct fetch *f = ctx;
    (void)purpose;
    if (!f->may_be_private && !net_address_is_public(&address->addr)) {
        f->private_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *ctx) {
    struct fetch *f = ctx;
    size_t n = size * count;
    if (f->body.n + n > HTTP_BODY_MAX) {
        f->too_large = true;
        return 0;
    }
    buf_add(&f->body, bytes, n);
    return n;
}

/* Ends a fetch that never began, from the loop. */
static void refuse(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct fetch *f = ctx;
    f->done(f->ctx, &(struct http_answer){.busy = f->busy, .content_type = "", .reason = f->error});
    fetch_destroy(f);
}

static void refuse_soon(struct fetch *f, const char *why) {
    snprintf(f->error, sizeof f->error, "%s", why);
    f->soon = event_new(f->http->base, -1, 0, refuse, f);
    if (!f->soon) memory_exhausted();
    event_active(f->soon, EV_TIMEOUT, 0);
}

void http_get(struct http *h, const char *host, int port, const char *addresses, const char *path, http_done_fn *done,
              void *ctx) {
    struct fetch *f = memory_alloc(sizeof *f);
    f->http = h, f->done = done, f->ctx = ctx;
    f->may_be_private =
        h->private_destinations || stub_zones_have(config_text("POSTBUS_RESOLVER_STUBS", ""), slice_of(host));
    f->next = h->fetches;
    if (f->next) f->next->previous = f;
    h->fetches = f;
    if (h->in_flight++ >= HTTP_IN_FLIGHT_MAX) {
        f->busy = true;
        refuse_soon(f, "too many fetches in flight");
        return;
    }
    struct buf text = {0};
    if (!(f->easy = curl_easy_init())) memory_exhausted();
    buf_printf(&text, "+%s:%d:%s", host, port, addresses); /* "+": removed after a minute; otherwise
                                                              libcurl keeps each name without a time
                                                              limit */
    if (!(f->resolve = curl_slist_append(NULL, buf_str(&text)))) memory_exhausted();
    buf_reset(&text);
    buf_printf(&text, "https://%s:%d%s", host, port, path);
    curl_easy_setopt(f->easy, CURLOPT_URL, buf_str(&text));
    buf_free(&text);
    curl_easy_setopt(f->easy, CURLOPT_RESOLVE, f->resolve);
    curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(f->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(f->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(f->easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    if (h->ca_file) curl_easy_setopt(f->easy, CURLOPT_CAINFO, h->ca_file);
    curl_easy_setopt(f->easy, CURLOPT_FORBID_REUSE, 1L); /* a policy host is asked once a day: no
                                                            idle connections */
    curl_easy_setopt(f->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(f->easy, CURLOPT_OPENSOCKETDATA, f);
    curl_easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, (long)HTTP_TIMEOUT_MS);
    curl_easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(f->easy, CURLOPT_PRIVATE, f);
    if (curl_multi_add_handle(h->multi, f->easy) != CURLM_OK) {
        curl_easy_cleanup(f->easy);
        f->easy = NULL;
        refuse_soon(f, "cannot start the fetch");
    }
}
