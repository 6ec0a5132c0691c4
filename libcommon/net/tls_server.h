/* TLS of a server with several certificates and shared session tickets. */
#ifndef POSTBUS_NET_TLS_SERVER_H
#define POSTBUS_NET_TLS_SERVER_H

#include <openssl/ssl.h>

#include "libcommon/net/certificates.h"

/* A context that chooses the certificate by the server name that the client asks for. ticket_secret
 * NULL: tickets are valid at this context only; else see tls_ticket.h, with periods of
 * ticket_seconds. Returns NULL, after logging the reason, when the default certificate is missing
 * or a pair cannot be read or does not match; the caller then keeps its previous context. The
 * context is for one thread. Existing connections keep their certificate. */
SSL_CTX *tls_server_create(const struct certificates *files, const char *ticket_secret, int64_t ticket_seconds);

#endif
