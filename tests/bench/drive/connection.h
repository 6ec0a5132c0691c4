/* A blocking connection to a server under test, plain or TLS, read line by line. One thread uses
 * it. TLS is the full handshake each time, without a look at the certificate. */
#ifndef POSTBUS_BENCH_CONNECTION_H
#define POSTBUS_BENCH_CONNECTION_H

#include <netinet/in.h>
#include <stdbool.h>

#include "libcommon/base/slice.h"

struct connection;

/* Reads "192.0.2.1:25"; ends the process when it is something else. */
struct sockaddr_in address_read(const char *text);

/* NULL when nobody answers or TLS fails. The caller closes it. */
struct connection *connection_open(const struct sockaddr_in *to, bool tls);
/* Takes a connection that was accepted. */
struct connection *connection_adopt(int fd);
void connection_close(struct connection *c); /* NULL is allowed */
int connection_start_tls(struct connection *c);

/* 0, or -1 when the connection is broken. */
int connection_write(struct connection *c, struct slice bytes);
int connection_printf(struct connection *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The next line without its CRLF, valid until the next call; -1 when the connection ended or
 * nothing came for two minutes. */
int connection_line(struct connection *c, struct slice *line);
/* Reads and drops so many bytes: an IMAP literal. */
int connection_skip(struct connection *c, size_t n);

#endif
