/* The listeners ("doors") that `postbus health` checks: those of the mail services and the name
 * server. */
#ifndef POSTBUS_ADMIN_DOORS_H
#define POSTBUS_ADMIN_DOORS_H

#include "services/admin/health/probe.h"

enum { DOORS_MAX = 32 };

struct door {
    char name[32], host[256]; /* name: name of the component in the answer */
    struct probe_target target;
};

struct doors {
    size_t count;
    struct door list[DOORS_MAX];
    struct door dns; /* host empty: there is no name server of the site's own */
};

/* From POSTBUS_HEALTH_DOORS ("name=host:port" or "name=host:port/tls", comma-separated; "off":
 * none) and POSTBUS_DNS_SERVER. An invalid setting ends the process. hostname: the server name for
 * TLS. */
void doors_read(struct doors *out, const char *hostname);

#endif
