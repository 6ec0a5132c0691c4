#include "services/cli/mailbox/imap/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/net/tls.h"
#include "services/cli/mailbox/imap/answer.h"

enum { PIECE = 64 * 1024 };

static int fail(struct imap_wire *w, const char *why) {
    snprintf(w->why, sizeof w->why, "%s", why);
    return -1;
}

/* A connected socket that blocks, or -1. */
static int connect_to(struct imap_wire *w, const struct addrinfo *a) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), error = 0;
    socklen_t size = sizeof error;
    struct timeval silence = {.tv_sec = IMAP_WIRE_SILENCE_SECONDS};
    if (fd < 0) return fail(w, strerror(errno));
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS) error = errno;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (!error && poll(&p, 1, IMAP_WIRE_CONNECT_MS) != 1) error = ETIMEDOUT;
    if (!error && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (!error && (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0 ||
                   setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence) != 0 ||
                   setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence) != 0))
        error = errno;
    if (!error) return fd;
    close(fd);
    return fail(w, strerror(error));
}

int imap_wire_open(struct imap_wire *w, const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    *w = (struct imap_wire){.fd = -1};
    int error = getaddrinfo(host, port, &hints, &list);
    if (error) return fail(w, gai_strerror(error));
    for (const struct addrinfo *a = list; a && w->fd < 0; a = a->ai_next) w->fd = connect_to(w, a);
    freeaddrinfo(list);
    return w->fd < 0 ? -1 : 0;
}

int imap_wire_start_tls(struct imap_wire *w, const char *host, const char *ca_file) {
    unsigned char address[16];
    bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    buf_reset(&w->in);
    w->at = 0;
    w->context = tls_client_context(ca_file);
    if (!w->context) return fail(w, "the CA certificates cannot be read");
    w->tls = SSL_new(w->context);
    SSL_set_verify(w->tls, SSL_VERIFY_PEER, NULL);
    if (is_address)
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(w->tls), host);
    else if (SSL_set1_host(w->tls, host) != 1 || SSL_set_tlsext_host_name(w->tls, host) != 1)
        return fail(w, "this is not the name of a host");
    if (SSL_set_fd(w->tls, w->fd) == 1 && SSL_connect(w->tls) == 1) return 0;
    char reason[256];
    long verified = SSL_get_verify_result(w->tls);
    snprintf(w->why, sizeof w->why, "TLS failed: %s",
             verified != X509_V_OK ? X509_verify_cert_error_string(verified) : tls_error_text(reason));
    return -1;
}

int imap_wire_send(struct imap_wire *w, struct slice bytes) {
    while (bytes.n) {
        ssize_t n;
        if (w->tls)
            n = SSL_write(w->tls, bytes.p, bytes.n > PIECE ? PIECE : (int)bytes.n);
        else
            n = send(w->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n <= 0) return fail(w, "the connection has ended");
        bytes = slice_skip(bytes, (size_t)n);
    }
    return 0;
}

/* Receives more. */
static int receive(struct imap_wire *w) {
    if (w->at == w->in.n) {
        buf_reset(&w->in);
        w->at = 0;
    } else if (w->at > PIECE) {
        buf_drop(&w->in, w->at);
        w->at = 0;
    }
    char *room = buf_reserve(&w->in, PIECE);
    errno = 0;
    ssize_t n = w->tls ? SSL_read(w->tls, room, PIECE) : recv(w->fd, room, PIECE, 0);
    if (n <= 0) return fail(w, errno == EAGAIN ? "the server is silent" : "the connection has ended");
    w->in.n += (size_t)n;
    return 0;
}

static struct slice received(const struct imap_wire *w) { return slice_skip(buf_slice(&w->in), w->at); }

/* Adds a line with its CRLF to out; *length: of all lines so far. */
static int read_line(struct imap_wire *w, struct buf *out, size_t *length) {
    for (;;) {
        struct slice have = received(w);
        ptrdiff_t end = slice_find(have, '\n');
        size_t n = end < 0 ? have.n : (size_t)end + 1;
        *length += n;
        if (*length > IMAP_WIRE_LINE_MAX) return fail(w, "the server sent a line that is too long");
        buf_add(out, have.p, n);
        w->at += n;
        if (end >= 0) return out->n >= 2 && out->data[out->n - 2] == '\r' ? 0 : fail(w, "the server sent a bare LF");
        if (receive(w) != 0) return -1;
    }
}

/* Reads n bytes; out NULL: they are thrown away. */
static int read_bytes(struct imap_wire *w, uint64_t n, struct buf *out) {
    while (n) {
        struct slice have = received(w);
        if (have.n > n) have.n = (size_t)n;
        if (out) buf_add_slice(out, have);
        w->at += have.n;
        n -= have.n;
        if (n && receive(w) != 0) return -1;
    }
    return 0;
}

int imap_wire_read(struct imap_wire *w, struct buf *out, bool *cut) {
    size_t lines = 0, start;
    uint64_t literals = 0, size;
    buf_reset(out);
    *cut = false;
    for (;;) {
        start = out->n;
        if (read_line(w, out, &lines) != 0) return -1;
        struct slice line = slice_skip(slice_head(buf_slice(out), out->n - 2), start);
        if (!imap_literal_follows(line, &size)) return 0;
        literals = size > UINT64_MAX - literals ? UINT64_MAX : literals + size;
        if (literals <= IMAP_WIRE_LITERALS_MAX) {
            if (read_bytes(w, size, out) != 0) return -1;
            continue;
        }
        if (literals > IMAP_WIRE_DROPPED_MAX) return fail(w, "the server sent a literal that is far too long");
        *cut = true;
        out->n -= line.n - (size_t)slice_find_last(line, '{') + 2;
        buf_add_str(out, "{0}\r\n");
        if (read_bytes(w, size, NULL) != 0) return -1;
    }
}

void imap_wire_close(struct imap_wire *w) {
    if (w->tls) SSL_free(w->tls);
    if (w->context) SSL_CTX_free(w->context);
    if (w->fd >= 0) close(w->fd);
    buf_free(&w->in);
    w->tls = NULL;
    w->context = NULL;
    w->fd = -1;
}
