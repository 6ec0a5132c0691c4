/* What the checks of `postbus check` share. Private to services/cli. */
#ifndef POSTBUS_CLI_CHECK_H
#define POSTBUS_CLI_CHECK_H

#include "libcommon/trust/verdict/trust.h"
#include "services/cli/cli.h"

/* The commands. */
int check_spf(struct cli *c);
int check_message(struct cli *c);
int check_domain(struct cli *c);

void check_print(const json_t *object);
void check_print_spf(const struct spf_verdict *v);
int check_spf_status(enum spf_result r);

/* The envelope, as the options give it: an IPv4 or IPv6 address; MAIL FROM with or without the angle brackets that SMTP
 * has around it. */
bool check_is_address(const char *text);
struct slice check_sender(const char *mail_from);

/* A DNS that waits for its answers. */
struct check_dns;

/* resolver: "ADDR:PORT", "[ADDR]:PORT" or "ADDR"; NULL: what the system uses. NULL after telling why. trace: each
 * answer is printed. Answers of types that dns.h does not name are given as on the wire. */
struct check_dns *check_dns_create(const char *resolver, bool trace);
void check_dns_destroy(struct check_dns *d); /* NULL is allowed */
/* Never answers "not known yet". Answers live as long as d; a question is asked once. */
struct trust_dns check_dns_lookups(struct check_dns *d);

#endif
