/* The addresses of a host name from this machine's resolver (getaddrinfo: /etc/hosts, search
 * domains, DNS). The loop does not wait: with a dead name server a lookup takes many seconds. This
 * is for the names of our own servers; questions about mail domains go to the verifier. */
#ifndef POSTBUS_NET_HOST_LOOKUP_H
#define POSTBUS_NET_HOST_LOOKUP_H

#include <event2/event.h>
#include <stddef.h>

enum { HOST_LOOKUP_MAX = 8 };

/* addresses: numeric, at most HOST_LOOKUP_MAX, in the order in which they are to be tried; valid
 * during the call. count 0: reason says why. */
typedef void host_lookup_fn(void *ctx, size_t count, const char *const addresses[], const char *reason);

struct host_lookup;
/* Calls told once, from the loop and never before this returns. Each lookup starts a thread, so a
 * caller should have one at a time. A numeric address is returned unchanged. */
struct host_lookup *host_lookup_start(struct event_base *base, const char *host, host_lookup_fn *told, void *ctx);
/* Prevents the call of told. Must not be called after told was called. NULL is allowed. */
void host_lookup_cancel(struct host_lookup *r);

#endif
