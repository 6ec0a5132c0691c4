/* The addresses of a host name as this machine's resolver tells them (getaddrinfo: /etc/hosts, search domains, DNS),
 * without making the loop wait: a dead name server takes many seconds to be given up. For our own servers' names; what
 * is said about mail is asked of the verifier. */
#ifndef POSTBUS_NET_HOST_LOOKUP_H
#define POSTBUS_NET_HOST_LOOKUP_H

#include <event2/event.h>
#include <stddef.h>

enum { HOST_LOOKUP_MAX = 8 };

/* addresses: numeric, at most HOST_LOOKUP_MAX, in the order in which they are to be tried; valid during the call. count
 * 0: reason says why. */
typedef void host_lookup_fn(void *ctx, size_t count, const char *const addresses[], const char *reason);

struct host_lookup;
/* Calls told once, from the loop and never before this returns. A thread is started for it, so a caller has one at a
 * time under way. A numeric address is answered as it is. */
struct host_lookup *host_lookup_start(struct event_base *base, const char *host, host_lookup_fn *told, void *ctx);
/* told will not be called any more. Not after it was. NULL is allowed. */
void host_lookup_cancel(struct host_lookup *r);

#endif
