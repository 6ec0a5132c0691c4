/* A connection to an IMAP server, which blocks: TCP, TLS, and answers of bounded size. The command line has one thread
 * and one task, so it may wait. */
#ifndef POSTBUS_CLI_IMAP_WIRE_H
#define POSTBUS_CLI_IMAP_WIRE_H

#include <openssl/ssl.h>

#include "libcommon/base/buf.h"

enum {
    IMAP_WIRE_CONNECT_MS = 15000,                          /* for each address of the host */
    IMAP_WIRE_SILENCE_SECONDS = 300,                       /* a server that is silent for longer is given up */
    IMAP_WIRE_LINE_MAX = 256 * 1024,                       /* what an answer may have beside its literals */
    IMAP_WIRE_LITERALS_MAX = 50 * 1024 * 1024 + 64 * 1024, /* what an answer's literals may have together */
};
/* A larger literal is not waited for: the connection is given up. */
#define IMAP_WIRE_DROPPED_MAX ((uint64_t)4 * 1024 * 1024 * 1024)

struct imap_wire {
    int fd; /* -1: not connected */
    SSL_CTX *context;
    SSL *tls;      /* NULL: in plain text so far */
    struct buf in; /* received and not read yet */
    size_t at;     /* in in */
    char why[512]; /* the reason of a failure, in words */
};

/* Connects to host (a name or an address). 0, or -1 with why. The caller calls imap_wire_close() either way. */
int imap_wire_open(struct imap_wire *w, const char *host, const char *port);
/* Begins TLS; the certificate must be valid for host. ca_file: NULL for the system's CAs. What was received before is
 * thrown away, since it was not protected (RFC 9051 §11.1). */
int imap_wire_start_tls(struct imap_wire *w, const char *host, const char *ca_file);
int imap_wire_send(struct imap_wire *w, struct slice bytes);
/* Reads one whole answer into out (emptied first): a line, and, as often as it ends with the announcement of a literal,
 * the literal and a further line. *cut: the literals were larger than IMAP_WIRE_LITERALS_MAX; they have been read and
 * thrown away, and out has "{0}" in their place. -1: the connection has ended, or the line is too long. */
int imap_wire_read(struct imap_wire *w, struct buf *out, bool *cut);
void imap_wire_close(struct imap_wire *w);

#endif
