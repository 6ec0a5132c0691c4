/* Shared declarations of the checks of `postbus check`. Private to services/cli. */
#ifndef POSTBUS_CLI_CHECK_H
#define POSTBUS_CLI_CHECK_H

#include "libcommon/trust/verdict/trust.h"
#include "services/cli/cli.h"

/* The commands. */
int check_spf(struct cli *c);
int check_message(struct cli *c);
int check_domain(struct cli *c);

void check_print_spf(const struct spf_verdict *v);
int check_spf_status(enum spf_result r);

/* The envelope in the options: an IPv4 or IPv6 address; MAIL FROM with or without the angle
 * brackets of SMTP. */
bool check_is_address(const char *text);
struct slice check_sender(const char *mail_from);

/* Blocking DNS queries. */
struct check_dns;

/* resolver: "ADDR:PORT", "[ADDR]:PORT" or "ADDR"; NULL: the system's servers. Returns NULL after
 * printing the reason. trace: each answer is printed. Answers of types that dns.h does not define
 * are in wire format. */
struct check_dns *check_dns_create(const char *resolver, bool trace);
void check_dns_destroy(struct check_dns *d); /* NULL is allowed */
/* Never answers "not known yet". Answers are valid as long as d; each question is sent once. */
struct trust_dns check_dns_lookups(struct check_dns *d);

#endif
