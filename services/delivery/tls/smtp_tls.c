#include "services/delivery/tls/smtp_tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "libcommon/base/arena.h"

/* RFC 7672: OpenSSL verifies, with the records that dane_choose() took. */
static bool set_dane(SSL *ssl, const struct tls_demand *d) {
    size_t usable = 0;
    if (SSL_dane_enable(ssl, d->names[0]) != 1) return false;
    for (size_t i = 1; i < d->name_count; i++)
        if (SSL_add1_host(ssl, d->names[i]) != 1) return false;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS); /* §3.1.1: for DANE-EE(3) names and
                                                                 dates are not checked */
    for (size_t i = 0; i < d->tlsa_count; i++) {
        const struct dane_record *r = &d->tlsa[i];
        if (SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, (const unsigned char *)r->data.p, r->data.n) > 0)
            usable++;
    }
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    return usable > 0;
}

/* RFC 8461 §4.2: a DNS name of the certificate must match; its common name does not count. */
static bool set_pkix(SSL *ssl, const struct tls_demand *d) {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    SSL_set_verify(ssl, d->level == TLS_PKIX ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    return SSL_set1_host(ssl, d->names[0]) == 1;
}

SSL *smtp_tls_create(SSL_CTX *context, const struct tls_demand *demand) {
    SSL *ssl = SSL_new(context);
    if (!ssl) memory_exhausted();
    if (demand->level <= TLS_NEVER)
        SSL_set_security_level(ssl, 1); /* RFC 7435 §3: weak encryption is better than plain text */
    /* The TLSA base domain under DANE (RFC 7672 §8.1); an address literal is not a server name (RFC
     * 6066 §3). */
    bool named = demand->names[0][0] == '[' || SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)demand->names[0]) == 1;
    bool set = demand->level == TLS_DANE ? set_dane(ssl, demand) : set_pkix(ssl, demand);
    ERR_clear_error();
    if (set && (named || demand->level <= TLS_NEVER)) return ssl;
    SSL_free(ssl);
    return NULL;
}
