/* One connection under every line protocol: plain TCP or TLS, reading lines or counted bytes, with
 * bounds on all of it. Built on libevent's bufferevents.
 *
 * A line ends with CRLF and nothing else: a bare LF or CR is part of the line, and the protocol
 * refuses it (RFC 5321 §2.3.8). All callbacks come on the worker's loop. */
#ifndef POSTBUS_NET_STREAM_H
#define POSTBUS_NET_STREAM_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/ssl.h>

#include "libcommon/base/buf.h"

struct stream;

enum stream_event {
    STREAM_READABLE,  /* there is input: read it with stream_line and stream_bytes */
    STREAM_DRAINED,   /* all output has been passed to the kernel */
    STREAM_TLS_READY, /* the handshake is done */
    STREAM_CONNECTED, /* an outgoing connection is established */
    STREAM_CLOSED,    /* the peer closed, or an error occurred: see stream_error */
    STREAM_TIMEOUT,   /* no progress within the time limit */
};
typedef void stream_fn(void *ctx, struct stream *s, enum stream_event event);

/* An accepted socket. peer: shown in place of the socket's own peer, for a client behind a proxy;
 * may be NULL. fn may destroy the stream. */
struct stream *stream_accept(struct event_base *base, evutil_socket_t fd, const struct sockaddr *peer, stream_fn *fn,
                             void *ctx);
/* Connects to an address (family and port in it); source NULL or an address to bind.
 * STREAM_CONNECTED or STREAM_CLOSED follows. */
struct stream *stream_connect(struct event_base *base, const struct sockaddr *to, socklen_t n,
                              const struct sockaddr *source, socklen_t source_n, int timeout_ms, stream_fn *fn,
                              void *ctx);
/* Sets another callback, such as that of a session after a race of connections. No event is
 * repeated: the new owner must check for input itself. */
void stream_hand_over(struct stream *s, stream_fn *fn, void *ctx);
/* Closes at once; unsent output is dropped. Safe inside its own callback; there are no further
 * callbacks. */
void stream_destroy(struct stream *s);
/* Sends the remaining output (for at most 10 s), then closes and destroys the stream; there are no
 * further callbacks. */
void stream_finish(struct stream *s);

/* Starts TLS on this connection as server or client. Input that was received in plain text and not
 * yet read is discarded (RFC 3207 §4.2), and stream_had_pipelined_before_tls() is then true. The
 * stream takes ownership of ssl. */
void stream_start_tls(struct stream *s, SSL *ssl, bool server);
bool stream_had_pipelined_before_tls(const struct stream *s);
/* NULL on a plain connection. */
SSL *stream_ssl(const struct stream *s);

/* The next whole line without its CRLF: 1 and *line (valid until the next call on s), 0 when it is
 * not whole yet, -1 when more than max bytes came without CRLF (they are dropped up to the next
 * CRLF, so that the protocol can answer once and continue). */
int stream_line(struct stream *s, size_t max, struct slice *line);
/* The available input, at most max bytes: a view that is valid until the next call;
 * stream_consume() removes it. n 0: there is none. */
struct slice stream_bytes(struct stream *s, size_t max);
void stream_consume(struct stream *s, size_t n);
/* Also bytes that are not decompressed yet. */
size_t stream_pending_input(const struct stream *s);

void stream_write(struct stream *s, struct slice bytes);
void stream_printf(struct stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* From now on all input and output is compressed (compression.h); input that is not DEFLATE, or comes
 * after its end, closes the stream. */
void stream_compress(struct stream *s);
/* The next stream_write is the last one that is compressed. Input from then on is plain, too. */
void stream_end_compression(struct stream *s);
bool stream_is_compressed(const struct stream *s);
/* Gives memory back that a compressed stream needs only while bytes flow, if none did for some
 * seconds. Cheap otherwise. */
void stream_rest(struct stream *s);
/* Between the two, output is only gathered; then it is passed to the kernel at once, in one write,
 * which saves a turn of the loop. If nothing is left, there is no STREAM_DRAINED. For a server that
 * executes several commands one after another; with TLS both do nothing. */
void stream_cork(struct stream *s);
void stream_uncork(struct stream *s);
/* Bytes not yet passed to the kernel: a server stops producing output above its bound and continues
 * at STREAM_DRAINED. */
size_t stream_pending_output(const struct stream *s);
/* Stops and resumes reading from the socket (back-pressure). Buffered input may still be read;
 * resuming calls fn with STREAM_READABLE when there is some. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* The kernel asks a silent peer whether it is still there (TCP keepalive, after 2 minutes):
 * STREAM_CLOSED when it is not, and networks between keep the connection in mind. */
void stream_keep_alive(struct stream *s);

/* Time without input or output progress until STREAM_TIMEOUT; 0: none. */
void stream_set_timeout(struct stream *s, int ms);

/* The peer's and our address: "192.0.2.1" or "2001:db8::1" (mapped IPv4 shown as IPv4), and
 * port. */
const char *stream_peer(const struct stream *s);
int stream_peer_port(const struct stream *s);
const char *stream_local(const struct stream *s);
/* Why it closed: "closed by peer", "connection refused", "TLS: certificate unknown" …; "" when it
 * did not. */
const char *stream_error(const struct stream *s);
/* "TLSv1.3" and "TLS_AES_256_GCM_SHA384"; "" on a plain connection. */
const char *stream_tls_version(const struct stream *s);
const char *stream_tls_cipher(const struct stream *s);

#endif
