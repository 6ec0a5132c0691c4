/* One connection under every line protocol: plain TCP or TLS, reading lines or counted bytes, with bounds on all of it.
 * Built on libevent's bufferevents.
 *
 * A line ends with CRLF and nothing else: a bare LF or CR is part of the line, and the protocol refuses it (RFC 5321
 * §2.3.8). All callbacks come on the worker's loop. */
#ifndef POSTBUS_NET_STREAM_H
#define POSTBUS_NET_STREAM_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/ssl.h>

#include "libcommon/base/buf.h"

struct stream;

enum stream_event {
    STREAM_READABLE,  /* bytes came: take what you can with stream_line and stream_bytes */
    STREAM_DRAINED,   /* all output is with the kernel */
    STREAM_TLS_READY, /* the handshake is done */
    STREAM_CONNECTED, /* an outgoing connection stands */
    STREAM_CLOSED,    /* the peer closed, or an error: stream_error tells */
    STREAM_TIMEOUT,   /* nothing came for the time allowed */
};
typedef void stream_fn(void *ctx, struct stream *s, enum stream_event event);

/* An accepted socket. fn may destroy the stream. */
struct stream *stream_accept(struct event_base *base, evutil_socket_t fd, stream_fn *fn, void *ctx);
/* Connects to an address (family and port in it); source NULL or an address to bind. STREAM_CONNECTED or STREAM_CLOSED
 * follows. */
struct stream *stream_connect(struct event_base *base, const struct sockaddr *to, socklen_t n,
                              const struct sockaddr *source, socklen_t source_n, int timeout_ms, stream_fn *fn,
                              void *ctx);
/* Another callback from now on, such as a session's after a race of connections. No event is repeated: the new owner
 * looks at what is there. */
void stream_hand_over(struct stream *s, stream_fn *fn, void *ctx);
/* Closes at once; unsent output is dropped. Safe inside its own callback; after it, no callback comes. */
void stream_destroy(struct stream *s);
/* Sends what is left, then closes and destroys itself (at most 10 s); no callback comes any more. */
void stream_finish(struct stream *s);

/* Starts TLS on this connection as server or client. What was received in plain text and not yet read is thrown away
 * (RFC 3207 §4.2), and stream_had_pipelined_before_tls() tells that there was some. ssl is owned by the stream then. */
void stream_start_tls(struct stream *s, SSL *ssl, bool server);
bool stream_had_pipelined_before_tls(const struct stream *s);
/* NULL on a plain connection. */
SSL *stream_ssl(const struct stream *s);

/* The next whole line without its CRLF: 1 and *line (valid until the next call on s), 0 when it is not whole yet, -1
 * when more than max bytes came without CRLF (they are dropped up to the next CRLF, so that the protocol can answer
 * once and go on). */
int stream_line(struct stream *s, size_t max, struct slice *line);
/* What is there, at most max bytes: a view, valid until the next call; stream_consume() takes it. n 0: nothing there.
 */
struct slice stream_bytes(struct stream *s, size_t max);
void stream_consume(struct stream *s, size_t n);
size_t stream_pending_input(const struct stream *s);

void stream_write(struct stream *s, struct slice bytes);
void stream_printf(struct stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Bytes not yet with the kernel: a server stops producing above its bound and goes on at STREAM_DRAINED. */
size_t stream_pending_output(const struct stream *s);
/* Stops and goes on reading from the socket (back-pressure). Buffered input may still be taken; resuming calls fn with
 * STREAM_READABLE when some is there. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* The kernel asks a silent peer whether it is still there (TCP keepalive, after 2 minutes): STREAM_CLOSED when it is
 * not, and networks between keep the connection in mind. */
void stream_keep_alive(struct stream *s);

/* Time without input or output progress until STREAM_TIMEOUT; 0: none. */
void stream_set_timeout(struct stream *s, int ms);

/* The peer's and our address: "192.0.2.1" or "2001:db8::1" (mapped IPv4 shown as IPv4), and port. */
const char *stream_peer(const struct stream *s);
int stream_peer_port(const struct stream *s);
const char *stream_local(const struct stream *s);
/* Why it closed: "closed by peer", "connection refused", "TLS: certificate unknown" …; "" when it did not. */
const char *stream_error(const struct stream *s);
/* "TLSv1.3" and "TLS_AES_256_GCM_SHA384"; "" on a plain connection. */
const char *stream_tls_version(const struct stream *s);
const char *stream_tls_cipher(const struct stream *s);

#endif
