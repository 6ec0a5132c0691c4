/* Shared declarations of the parts of `postbus check domain`; private to them.
 *   check_domain.c          the command: all parts, then the problems
 *   check_domain_mail.c     incoming and outgoing mail: MX, addresses, reverse names, SPF, DKIM
 *                           keys
 *   check_domain_policy.c   policies: DMARC, MTA-STS, TLS-RPT, TLSA, BIMI, CAA
 *   check_domain_fetch.c    an MTA-STS policy by HTTPS
 *   domain_findings.c       their questions and findings */
#ifndef POSTBUS_CLI_CHECK_DOMAIN_H
#define POSTBUS_CLI_CHECK_DOMAIN_H

#include "services/cli/check/domain_findings.h"

void check_domain_mx(struct domain_check *c);
void check_domain_spf(struct domain_check *c);
void check_domain_dkim(struct domain_check *c);
void check_domain_dmarc(struct domain_check *c);
void check_domain_mta_sts(struct domain_check *c);
void check_domain_tls_rpt(struct domain_check *c);
void check_domain_tlsa(struct domain_check *c);
void check_domain_others(struct domain_check *c); /* BIMI, CAA, DNSSEC */

/* Gets https://<host>/.well-known/mta-sts.txt from one of addresses ("192.0.2.1,2001:db8::1"), with
 * all PKIX checks, no redirections, at most 64 KiB, 10 s (RFC 8461 §3.3). Returns the HTTP status
 * with the body in *out, which the caller frees, or 0 with the reason in words. */
long check_domain_fetch(const char *host, const char *addresses, struct buf *out, char reason[256]);

#endif
