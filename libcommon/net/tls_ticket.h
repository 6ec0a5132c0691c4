/* Keys of session tickets (RFC 5077, RFC 8446 §4.6.1) that every worker of every replica derives by
 * itself, so that a session can be resumed at any of them. They are derived from a secret of the
 * service and the number of the period. A ticket is accepted in its own period, in the next one
 * and, because clocks differ, in the previous one. */
#ifndef POSTBUS_NET_TLS_TICKET_H
#define POSTBUS_NET_TLS_TICKET_H

#include <openssl/ssl.h>
#include <stdint.h>

struct tls_ticket_key {
    unsigned char name[16], aes[32], hmac[32];
};

/* HKDF-SHA-256 (RFC 5869) of the secret and the period's number. */
void tls_ticket_key_derive(const char *secret, int64_t period, struct tls_ticket_key *out);
/* Makes the context issue and accept tickets with these keys; seconds: the length of a period.
 * Without this call OpenSSL uses random keys for each context. The secret is copied, and erased
 * with the context. */
void tls_ticket_use(SSL_CTX *context, const char *secret, int64_t seconds);

#endif
