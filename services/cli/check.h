/* What the checks of `postbus check` share: a DNS that waits for its answers. Private to services/cli. */
#ifndef POSTBUS_CLI_CHECK_H
#define POSTBUS_CLI_CHECK_H

#include "libcommon/trust/dns.h"

struct check_dns;

/* resolver: "ADDR:PORT" or "[ADDR]:PORT"; NULL: what the system uses. Answers are not validated. NULL after telling why. trace: each answer is printed. */
struct check_dns *check_dns_create(const char *resolver, bool trace);
void check_dns_destroy(struct check_dns *d); /* NULL is allowed */
/* Never answers "not known yet". Answers live as long as d; a question is asked once. */
struct trust_dns check_dns_lookups(struct check_dns *d);

#endif
