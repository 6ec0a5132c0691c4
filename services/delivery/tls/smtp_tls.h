/* The client's side of STARTTLS: the TLS session of a connection according to its demand. */
#ifndef POSTBUS_DELIVERY_SMTP_TLS_H
#define POSTBUS_DELIVERY_SMTP_TLS_H

#include <openssl/ssl.h>

#include "services/delivery/tls/tls_demand.h"

/* A TLS session ready for its handshake, which the caller owns; NULL when OpenSSL cannot be
 * configured for the demand (then nothing may be sent). With TLS_PKIX or TLS_DANE the handshake
 * fails if the certificate does not meet the demand; at the other levels the certificate is checked
 * too, with the result in SSL_get_verify_result. */
SSL *smtp_tls_create(SSL_CTX *context, const struct tls_demand *demand);

#endif
