/* Keys of session tickets (RFC 5077, RFC 8446 §4.6.1) that every worker of every replica derives for itself, so that a
 * session resumes wherever the client's next connection arrives. They come from a secret of the service and from the
 * number of the period: a ticket is taken in its own period, the one after, and (clocks differ) the one before. */
#ifndef POSTBUS_NET_TLS_TICKET_H
#define POSTBUS_NET_TLS_TICKET_H

#include <openssl/ssl.h>
#include <stdint.h>

struct tls_ticket_key {
    unsigned char name[16], aes[32], hmac[32];
};

/* HKDF-SHA-256 (RFC 5869) of the secret and the period's number. */
void tls_ticket_key_derive(const char *secret, int64_t period, struct tls_ticket_key *out);
/* The context makes and takes tickets of these keys; seconds: a period. Without it OpenSSL uses random keys of the
 * context's own. The secret is copied, and erased with the context. */
void tls_ticket_use(SSL_CTX *context, const char *secret, int64_t seconds);

#endif
