/* The client's side of STARTTLS: a connection's TLS as the demand asks for it. */
#ifndef POSTBUS_DELIVERY_SMTP_TLS_H
#define POSTBUS_DELIVERY_SMTP_TLS_H

#include <openssl/ssl.h>

#include "services/delivery/tls/tls_demand.h"

/* A TLS session ready for its handshake, the caller's; NULL when the demand cannot be put into OpenSSL's terms (then
 * nothing may be sent). The handshake fails where the demand is TLS_PKIX or TLS_DANE and the certificate does not meet
 * it; under the other levels it is checked too, and SSL_get_verify_result tells. */
SSL *smtp_tls_create(SSL_CTX *context, const struct tls_demand *demand);

#endif
