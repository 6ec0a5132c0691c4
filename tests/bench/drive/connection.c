#include "tests/bench/drive/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "libcommon/base/arena.h"

enum { BUFFER_BYTES = 64 * 1024, COMMAND_BYTES = 4096, PATIENCE_SECONDS = 120 };

struct connection {
    int fd;
    SSL *tls;
    size_t from, to; /* what is read and not used yet: buffer[from] to buffer[to - 1] */
    char buffer[BUFFER_BYTES];
};

struct sockaddr_in address_read(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strrchr(text, ':');
    if (colon && (size_t)(colon - text) < sizeof host) {
        memcpy(host, text, (size_t)(colon - text));
        address.sin_port = htons((uint16_t)atoi(colon + 1));
        if (inet_pton(AF_INET, host, &address.sin_addr) == 1) return address;
    }
    fprintf(stderr, "drive: not an address with a port: %s\n", text);
    exit(64);
}

static pthread_once_t tls_once = PTHREAD_ONCE_INIT;
static SSL_CTX *tls_context;

static void make_tls_context(void) {
    tls_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF);
}

struct connection *connection_adopt(int fd) {
    int one = 1;
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct connection *c = memory_alloc(sizeof *c);
    c->fd = fd;
    return c;
}

struct connection *connection_open(const struct sockaddr_in *to, bool tls) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return NULL;
    if (connect(fd, (const struct sockaddr *)to, sizeof *to)) {
        close(fd);
        return NULL;
    }
    struct connection *c = connection_adopt(fd);
    if (tls && connection_start_tls(c)) {
        connection_close(c);
        return NULL;
    }
    return c;
}

void connection_close(struct connection *c) {
    if (!c) return;
    if (c->tls) {
        SSL_shutdown(c->tls);
        SSL_free(c->tls);
    }
    close(c->fd);
    free(c);
}

int connection_start_tls(struct connection *c) {
    pthread_once(&tls_once, make_tls_context);
    c->tls = SSL_new(tls_context);
    SSL_set_fd(c->tls, c->fd);
    return SSL_connect(c->tls) == 1 ? 0 : -1;
}

int connection_write(struct connection *c, struct slice bytes) {
    while (bytes.n) {
        ssize_t n = c->tls ? SSL_write(c->tls, bytes.p, (int)bytes.n) : write(c->fd, bytes.p, bytes.n);
        if (n < 0 && !c->tls && errno == EINTR) continue;
        if (n <= 0) return -1;
        bytes = slice_skip(bytes, (size_t)n);
    }
    return 0;
}

int connection_printf(struct connection *c, const char *format, ...) {
    char text[COMMAND_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return n < 0 || n >= COMMAND_BYTES ? -1 : connection_write(c, (struct slice){text, (size_t)n});
}

static int fill(struct connection *c) {
    if (c->from) {
        memmove(c->buffer, c->buffer + c->from, c->to - c->from);
        c->to -= c->from;
        c->from = 0;
    }
    if (c->to == BUFFER_BYTES) return -1; /* a line longer than any server may send */
    ssize_t n;
    do {
        n = c->tls ? SSL_read(c->tls, c->buffer + c->to, (int)(BUFFER_BYTES - c->to))
                   : read(c->fd, c->buffer + c->to, BUFFER_BYTES - c->to);
    } while (n < 0 && !c->tls && errno == EINTR);
    if (n <= 0) return -1;
    c->to += (size_t)n;
    return 0;
}

int connection_line(struct connection *c, struct slice *line) {
    size_t seen = 0;
    for (;;) {
        char *begin = c->buffer + c->from, *end = memchr(begin + seen, '\n', c->to - c->from - seen);
        if (end) {
            *line = (struct slice){begin, (size_t)(end - begin)};
            if (line->n && line->p[line->n - 1] == '\r') line->n--;
            c->from += (size_t)(end - begin) + 1;
            return 0;
        }
        seen = c->to - c->from;
        if (fill(c)) return -1;
    }
}

int connection_skip(struct connection *c, size_t n) {
    while (n) {
        size_t have = c->to - c->from;
        if (!have) {
            if (fill(c)) return -1;
            continue;
        }
        size_t part = have < n ? have : n;
        c->from += part;
        n -= part;
    }
    return 0;
}
