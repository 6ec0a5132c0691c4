/* TLS contexts: TLS 1.2 and up, OpenSSL's own defaults at security level 2. */
#ifndef POSTBUS_NET_TLS_H
#define POSTBUS_NET_TLS_H

#include <openssl/ssl.h>

/* A server's context with this certificate chain and key (PEM files). NULL, after logging the
 * reason, when they cannot be read or do not match. */
SSL_CTX *tls_server_context(const char *certificate_file, const char *key_file);
/* A client's context with the CAs of ca_file (NULL or "": the system's). Verification itself is set
 * for each connection. */
SSL_CTX *tls_client_context(const char *ca_file);
/* The reason of OpenSSL's last error in words; clears it. */
const char *tls_error_text(char out[256]);

#endif
