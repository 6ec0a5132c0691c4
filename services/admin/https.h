/* The certificates of admin's TLS listeners: the same files, chosen and reloaded as those of the
 * mail services (libcommon/net/certificates.h), for GnuTLS, which the HTTP library uses. */
#ifndef POSTBUS_ADMIN_HTTPS_H
#define POSTBUS_ADMIN_HTTPS_H

#include <event2/event.h>
#include <gnutls/abstract.h>

struct https;

/* Belongs to one worker and is used on its thread. NULL when there is no usable certificate; then
 * there is no TLS listener. */
struct https *https_create(struct event_base *base);
void https_destroy(struct https *h); /* NULL is allowed */
/* Must be called on the worker's thread before its HTTP library runs; https_choose then uses these
 * certificates. */
void https_use(struct https *h);
/* The library's callback for a handshake. */
gnutls_certificate_retrieve_function2 https_choose;

#endif
