/* The certificates of admin's TLS listeners: the same files, chosen and followed in the same way as those of the mail
 * services (libcommon/net/certificates.h), for GnuTLS, which the HTTP library uses. */
#ifndef POSTBUS_ADMIN_HTTPS_H
#define POSTBUS_ADMIN_HTTPS_H

#include <event2/event.h>
#include <gnutls/abstract.h>

struct https;

/* Of one worker, whose thread it is used on. NULL where there is no usable certificate: no TLS listener then. */
struct https *https_create(struct event_base *base);
void https_destroy(struct https *h); /* NULL is allowed */
/* Called on the worker's thread before its HTTP library runs: https_choose answers from these certificates then. */
void https_use(struct https *h);
/* The library's callback for a handshake. */
gnutls_certificate_retrieve_function2 https_choose;

#endif
