#include "libcommon/net/stream.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/net/compression.h"

/* INPUT_MAX: reading from the socket stops above it until the protocol has consumed some input. */
enum {
    INPUT_MAX = 256 * 1024,
    LINE_KEPT = 1024,
    FINISH_MS = 10000,
    ADDRESS_BYTES = 64,
    ERROR_BYTES = 128,
    REST_US = 5000000
};

struct stream {
    struct event_base *base;
    struct bufferevent *bev;
    evutil_socket_t fd;
    stream_fn *fn;
    void *ctx;
    SSL *ssl, *next_ssl; /* next_ssl: TLS starts when the plain output has been sent */
    bool next_is_server, connecting, handshaking, paused, closed, finishing, dead, pipelined_before_tls, discarding;
    bool corked, write_off;          /* write_off: EV_WRITE of bev is disabled, and there is no output */
    struct compression *compression; /* NULL: plain */
    struct evbuffer *inflated;       /* its input */
    size_t turn_left;                /* bytes of it that are made before the loop runs again */
    bool damaged, compression_ends;
    int depth; /* number of our callbacks on the stack: the stream is freed when it is 0 again */
    struct buf line;
    struct event *clock;
    int timeout_ms;
    int64_t progress_us;
    char peer[ADDRESS_BYTES], local[ADDRESS_BYTES], error[ERROR_BYTES];
    int peer_port;
};

static void drop_compression(struct stream *s) {
    compression_destroy(s->compression);
    if (s->inflated) evbuffer_free(s->inflated);
    s->compression = NULL;
    s->inflated = NULL;
}

static void stream_free(struct stream *s) {
    if (s->ssl) { /* send close_notify, if the socket accepts it now */
        SSL_set_shutdown(s->ssl, SSL_RECEIVED_SHUTDOWN);
        if (!s->handshaking && !s->closed) SSL_shutdown(s->ssl);
        ERR_clear_error();
    }
    bufferevent_free(s->bev);
    if (s->fd >= 0) evutil_closesocket(s->fd);
    if (s->ssl) SSL_free(s->ssl);
    if (s->next_ssl) SSL_free(s->next_ssl);
    event_free(s->clock);
    drop_compression(s);
    buf_free(&s->line);
    free(s);
}

/* Every callback runs between enter and leave, so that fn may destroy the stream. */
static void leave(struct stream *s) {
    if (--s->depth == 0 && s->dead) stream_free(s);
}

static void tell(struct stream *s, enum stream_event event) {
    if (!s->dead && !s->finishing) s->fn(s->ctx, s, event);
}

static void close_with(struct stream *s, const char *why) {
    if (s->closed) return;
    s->closed = true;
    snprintf(s->error, sizeof s->error, "%s", why);
    bufferevent_disable(s->bev, EV_READ | EV_WRITE);
    if (s->finishing)
        s->dead = true;
    else
        tell(s, STREAM_CLOSED);
}

static void arm_clock(struct stream *s, int64_t ms) {
    struct timeval wait = {ms / 1000, (ms % 1000) * 1000};
    event_add(s->clock, &wait);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct stream *s = ctx;
    (void)fd, (void)what;
    s->depth++;
    int64_t idle_ms = (clock_monotonic_us() - s->progress_us) / 1000;
    if (s->timeout_ms && idle_ms < s->timeout_ms) {
        arm_clock(s, s->timeout_ms - idle_ms);
    } else if (s->finishing) {
        s->dead = true;
    } else if (s->connecting) {
        close_with(s, "connection timed out");
    } else if (s->timeout_ms && !s->closed) {
        s->progress_us = clock_monotonic_us();
        arm_clock(s, s->timeout_ms);
        tell(s, STREAM_TIMEOUT);
    }
    leave(s);
}

static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *ctx) {
    struct stream *s = ctx;
    (void)buffer;
    if (info->n_deleted) s->progress_us = clock_monotonic_us();
}

static void switch_to_tls(struct stream *s);

static void on_read(struct bufferevent *bev, void *ctx) {
    struct stream *s = ctx;
    (void)bev;
    s->depth++;
    s->progress_us = clock_monotonic_us();
    s->turn_left = INPUT_MAX;
    if (!s->paused && !s->next_ssl) tell(s, STREAM_READABLE);
    leave(s);
}

static void on_write(struct bufferevent *bev, void *ctx) {
    struct stream *s = ctx;
    (void)bev;
    s->depth++;
    s->progress_us = clock_monotonic_us();
    if (s->next_ssl)
        switch_to_tls(s);
    else if (s->finishing)
        s->dead = true;
    else if (!s->connecting)
        tell(s, STREAM_DRAINED);
    leave(s);
}

/* Writes the address and returns the port. */
static int describe_address(const struct sockaddr *a, char out[ADDRESS_BYTES]) {
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
        inet_ntop(AF_INET, &v4->sin_addr, out, ADDRESS_BYTES);
        return ntohs(v4->sin_port);
    }
    if (a->sa_family != AF_INET6) return 0;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], out, ADDRESS_BYTES);
    else
        inet_ntop(AF_INET6, &v6->sin6_addr, out, ADDRESS_BYTES);
    return ntohs(v6->sin6_port);
}

static void remember_addresses(struct stream *s, const struct sockaddr *peer) {
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    if (peer)
        s->peer_port = describe_address(peer, s->peer);
    else if (getpeername(s->fd, (struct sockaddr *)&a, &n) == 0)
        s->peer_port = describe_address((struct sockaddr *)&a, s->peer);
    n = sizeof a;
    if (getsockname(s->fd, (struct sockaddr *)&a, &n) == 0) describe_address((struct sockaddr *)&a, s->local);
}

static void describe_failure(struct stream *s, short what, char out[ERROR_BYTES]) {
    unsigned long tls = s->ssl ? bufferevent_get_openssl_error(s->bev) : 0;
    int code = EVUTIL_SOCKET_ERROR();
    if (s->damaged)
        snprintf(out, ERROR_BYTES, "the compressed data is damaged");
    else if (what & BEV_EVENT_EOF)
        snprintf(out, ERROR_BYTES, s->handshaking ? "closed by peer during the TLS handshake" : "closed by peer");
    else if (tls)
        snprintf(out, ERROR_BYTES, "TLS: %s", ERR_reason_error_string(tls) ? ERR_reason_error_string(tls) : "failed");
    else if (s->handshaking)
        snprintf(out, ERROR_BYTES, "TLS: handshake failed (%s)", code ? evutil_socket_error_to_string(code) : "closed");
    else
        snprintf(out, ERROR_BYTES, "%s", code ? evutil_socket_error_to_string(code) : "connection lost");
}

static void on_event(struct bufferevent *bev, short what, void *ctx) {
    struct stream *s = ctx;
    (void)bev;
    s->depth++;
    s->progress_us = clock_monotonic_us();
    if (what & BEV_EVENT_CONNECTED) {
        if (s->connecting) {
            s->connecting = false;
            event_del(s->clock);
            if (s->timeout_ms) arm_clock(s, s->timeout_ms);
            remember_addresses(s, NULL);
            tell(s, STREAM_CONNECTED);
        } else if (s->handshaking) {
            s->handshaking = false;
            tell(s, STREAM_TLS_READY);
        }
    } else if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
        char why[ERROR_BYTES];
        describe_failure(s, what, why);
        close_with(s, why);
    }
    leave(s);
}

static void use_bufferevent(struct stream *s, struct bufferevent *bev) {
    s->bev = bev;
    s->write_off = false;
    bufferevent_setcb(bev, on_read, on_write, on_event, s);
    bufferevent_setwatermark(bev, EV_READ, 0, INPUT_MAX);
    evbuffer_add_cb(bufferevent_get_output(bev), on_output, s);
    bufferevent_enable(bev, EV_WRITE | (s->paused ? 0 : EV_READ));
}

static struct stream *stream_create(struct event_base *base, evutil_socket_t fd, stream_fn *fn, void *ctx) {
    struct stream *s = memory_alloc(sizeof *s);
    int on = 1;
    s->base = base;
    s->fd = fd;
    s->fn = fn;
    s->ctx = ctx;
    s->progress_us = clock_monotonic_us();
    s->clock = event_new(base, -1, 0, on_clock, s);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_DEFER_CALLBACKS);
    if (!bev) memory_exhausted();
    use_bufferevent(s, bev);
    return s;
}

struct stream *stream_accept(struct event_base *base, evutil_socket_t fd, const struct sockaddr *peer, stream_fn *fn,
                             void *ctx) {
    evutil_make_socket_nonblocking(fd);
    struct stream *s = stream_create(base, fd, fn, ctx);
    remember_addresses(s, peer);
    return s;
}

static void on_connect_failed(evutil_socket_t fd, short what, void *ctx) {
    struct stream *s = ctx;
    (void)fd, (void)what;
    s->depth++;
    char why[ERROR_BYTES];
    snprintf(why, sizeof why, "%s", s->error);
    s->error[0] = 0;
    close_with(s, why);
    leave(s);
}

struct stream *stream_connect(struct event_base *base, const struct sockaddr *to, socklen_t n,
                              const struct sockaddr *source, socklen_t source_n, int timeout_ms, stream_fn *fn,
                              void *ctx) {
    evutil_socket_t fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int bound = fd >= 0 && source ? bind(fd, source, source_n) : 0;
    struct stream *s = stream_create(base, fd, fn, ctx);
    s->connecting = true;
    if (fd < 0 || bound != 0 || bufferevent_socket_connect(s->bev, to, (int)n) != 0) {
        /* the callback is called from the loop, never from here */
        snprintf(s->error, sizeof s->error, "%s", evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
        event_assign(s->clock, base, -1, 0, on_connect_failed, s);
        event_active(s->clock, EV_TIMEOUT, 0);
        return s;
    }
    arm_clock(s, timeout_ms);
    return s;
}

void stream_hand_over(struct stream *s, stream_fn *fn, void *ctx) {
    s->fn = fn;
    s->ctx = ctx;
}

void stream_destroy(struct stream *s) {
    if (!s) return;
    s->dead = true;
    if (s->depth == 0) stream_free(s);
}

void stream_finish(struct stream *s) {
    if (!s) return;
    if (s->closed || stream_pending_output(s) == 0) {
        stream_destroy(s);
        return;
    }
    s->finishing = true;
    bufferevent_disable(s->bev, EV_READ);
    s->timeout_ms = 0;
    event_del(s->clock);
    arm_clock(s, FINISH_MS);
}

static void switch_to_tls(struct stream *s) {
    evbuffer_remove_cb(bufferevent_get_output(s->bev), on_output, s);
    bufferevent_setcb(s->bev, NULL, NULL, NULL, NULL);
    bufferevent_disable(s->bev, EV_READ | EV_WRITE);
    bufferevent_setfd(s->bev, -1);
    bufferevent_free(s->bev);
    s->ssl = s->next_ssl;
    s->next_ssl = NULL;
    s->handshaking = true;
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        s->base, s->fd, s->ssl, s->next_is_server ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING,
        BEV_OPT_DEFER_CALLBACKS); /* this module closes the socket and ssl */
    if (!bev) memory_exhausted();
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    use_bufferevent(s, bev);
}

void stream_start_tls(struct stream *s, SSL *ssl, bool server) {
    struct evbuffer *input = bufferevent_get_input(s->bev);
    s->next_ssl = ssl;
    s->next_is_server = server;
    if (evbuffer_get_length(input)) {
        s->pipelined_before_tls = true;
        evbuffer_drain(input, evbuffer_get_length(input));
    }
    bufferevent_disable(s->bev, EV_READ); /* the bytes from here on are TLS */
    if (stream_pending_output(s) == 0) switch_to_tls(s);
}

bool stream_had_pipelined_before_tls(const struct stream *s) { return s->pipelined_before_tls; }
SSL *stream_ssl(const struct stream *s) { return s->ssl; }

/* Where input is read from; more of it is decompressed if there is room. */
static struct evbuffer *input_of(struct stream *s) {
    struct evbuffer *raw = bufferevent_get_input(s->bev);
    if (!s->compression || s->damaged) return s->compression ? s->inflated : raw;
    if (!s->turn_left) { /* a few bytes may be many: the others have their turn before the rest */
        bufferevent_trigger(s->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
        return s->inflated;
    }
    size_t before = evbuffer_get_length(s->inflated), most = before + s->turn_left;
    if (compression_read(s->compression, raw, s->inflated, most < INPUT_MAX ? most : INPUT_MAX) != 0) {
        s->damaged = true; /* the loop tells it */
        bufferevent_disable(s->bev, EV_READ);
        bufferevent_trigger_event(s->bev, BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
    }
    size_t made = evbuffer_get_length(s->inflated) - before;
    s->turn_left -= made < s->turn_left ? made : s->turn_left;
    return s->inflated;
}

int stream_line(struct stream *s, size_t max, struct slice *line) {
    struct evbuffer *input = input_of(s);
    size_t eol_n = 0, length = evbuffer_get_length(input);
    if (!length) return 0;
    struct evbuffer_ptr eol = evbuffer_search_eol(input, NULL, &eol_n, EVBUFFER_EOL_CRLF_STRICT);
    if (eol.pos < 0) {
        if (length > max + 2) {
            s->discarding = true;
            evbuffer_drain(input, length - 1); /* the last byte may be the CR of the end */
            if (s->compression) input_of(s);   /* which asks for another turn if there is more */
        }
        return 0;
    }
    size_t n = (size_t)eol.pos;
    if (s->discarding || n > max) {
        s->discarding = false;
        evbuffer_drain(input, n + eol_n);
        return -1;
    }
    if (s->line.cap > LINE_KEPT)
        buf_free(&s->line);
    else
        buf_reset(&s->line);
    char *at = buf_reserve(&s->line, n + eol_n);
    evbuffer_remove(input, at, n + eol_n);
    s->line.n = n;
    s->line.data[n] = 0;
    *line = buf_slice(&s->line);
    return 1;
}

struct slice stream_bytes(struct stream *s, size_t max) {
    struct evbuffer_iovec chunk = {0};
    if (evbuffer_peek(input_of(s), (ev_ssize_t)max, NULL, &chunk, 1) < 1) return slice_make("", 0);
    return slice_make(chunk.iov_base, chunk.iov_len < max ? chunk.iov_len : max);
}

void stream_consume(struct stream *s, size_t n) {
    evbuffer_drain(s->inflated ? s->inflated : bufferevent_get_input(s->bev), n);
}

size_t stream_pending_input(const struct stream *s) {
    return evbuffer_get_length(bufferevent_get_input(s->bev)) + (s->inflated ? evbuffer_get_length(s->inflated) : 0);
}

void stream_compress(struct stream *s) {
    if (s->compression) return;
    s->compression = compression_create();
    s->turn_left = INPUT_MAX;
    s->inflated = evbuffer_new();
    if (!s->inflated) memory_exhausted();
}

void stream_end_compression(struct stream *s) { s->compression_ends = s->compression != NULL; }
bool stream_is_compressed(const struct stream *s) { return s->compression != NULL; }

void stream_rest(struct stream *s) {
    if (s->compression && compression_is_awake(s->compression) && !stream_pending_input(s) &&
        clock_monotonic_us() - s->progress_us > REST_US)
        compression_rest(s->compression);
}

/* Enabling EV_WRITE causes a write event, also when there is no output: so it stays disabled until
 * there is some. */
static void let_loop_write(struct stream *s) {
    if (!s->write_off || s->corked) return;
    s->write_off = false;
    bufferevent_enable(s->bev, EV_WRITE);
}

void stream_write(struct stream *s, struct slice bytes) {
    struct evbuffer *output = bufferevent_get_output(s->bev);
    if (!bytes.n || s->closed) return;
    if (s->compression)
        compression_write(s->compression, bytes, s->compression_ends, output);
    else
        evbuffer_add(output, bytes.p, bytes.n);
    if (s->compression_ends) drop_compression(s);
    s->compression_ends = false;
    let_loop_write(s);
}

void stream_printf(struct stream *s, const char *format, ...) {
    va_list ap;
    if (s->closed) return;
    va_start(ap, format);
    if (s->compression) {
        struct evbuffer *text = evbuffer_new();
        if (!text) memory_exhausted();
        evbuffer_add_vprintf(text, format, ap);
        stream_write(s, slice_make(evbuffer_pullup(text, -1), evbuffer_get_length(text)));
        evbuffer_free(text);
    } else {
        evbuffer_add_vprintf(bufferevent_get_output(s->bev), format, ap);
        let_loop_write(s);
    }
    va_end(ap);
}

void stream_cork(struct stream *s) {
    if (s->ssl || s->connecting || s->closed || stream_pending_output(s)) return;
    s->corked = true;
    if (!s->write_off) bufferevent_disable(s->bev, EV_WRITE);
    s->write_off = true;
}

void stream_uncork(struct stream *s) {
    struct evbuffer *output = bufferevent_get_output(s->bev);
    if (!s->corked) return;
    s->corked = false;
    if (s->closed) return;
    if (evbuffer_get_length(output)) { /* a bufferevent's output is frozen but for its own writes */
        evbuffer_unfreeze(output, 1);
        evbuffer_write(output, s->fd);
        evbuffer_freeze(output, 1);
    }
    if (evbuffer_get_length(output))
        let_loop_write(s); /* the rest, or the error is reported */
    else if (s->next_ssl)
        switch_to_tls(s);
}

size_t stream_pending_output(const struct stream *s) { return evbuffer_get_length(bufferevent_get_output(s->bev)); }

void stream_pause(struct stream *s) {
    s->paused = true;
    bufferevent_disable(s->bev, EV_READ);
}

void stream_resume(struct stream *s) {
    if (!s->paused) return;
    s->paused = false;
    if (s->closed || s->next_ssl) return;
    bufferevent_enable(s->bev, EV_READ);
    if (stream_pending_input(s))
        bufferevent_trigger(s->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

void stream_keep_alive(struct stream *s) {
    int on = 1, silent_s = 120, every_s = 30, probes = 4;
    setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPIDLE, &silent_s, sizeof silent_s);
    setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

void stream_set_timeout(struct stream *s, int ms) {
    s->timeout_ms = ms;
    s->progress_us = clock_monotonic_us();
    if (s->connecting) return;
    event_del(s->clock);
    if (ms) arm_clock(s, ms);
}

const char *stream_peer(const struct stream *s) { return s->peer; }
int stream_peer_port(const struct stream *s) { return s->peer_port; }
const char *stream_local(const struct stream *s) { return s->local; }
const char *stream_error(const struct stream *s) { return s->error; }
const char *stream_tls_version(const struct stream *s) {
    return s->ssl && !s->handshaking ? SSL_get_version(s->ssl) : "";
}
const char *stream_tls_cipher(const struct stream *s) {
    return s->ssl && !s->handshaking ? SSL_get_cipher_name(s->ssl) : "";
}
