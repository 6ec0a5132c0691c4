/* A server's TLS with several certificates and with shared tickets. */
#ifndef POSTBUS_NET_TLS_SERVER_H
#define POSTBUS_NET_TLS_SERVER_H

#include <openssl/ssl.h>

#include "libcommon/net/certificates.h"

/* A context that serves the certificate that is for the name that the client asks for. ticket_secret NULL: tickets are
 * good at this context only; else as tls_ticket.h says, with periods of ticket_seconds. NULL, after logging why, when
 * the default certificate is missing or any of the pairs cannot be read or does not fit: then nothing changes for
 * those who have an older context. The context is for one thread. Connections keep what they were made with. */
SSL_CTX *tls_server_create(const struct certificates *files, const char *ticket_secret, int64_t ticket_seconds);

#endif
