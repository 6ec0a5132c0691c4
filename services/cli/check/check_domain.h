/* Shared declarations of the parts of `postbus check domain`; private to them.
 *   check_domain.c          the command: all parts, then the problems
 *   check_domain_mail.c     incoming and outgoing mail: MX, addresses, reverse names, SPF, DKIM
 *                           keys
 *   check_domain_policy.c   policies: DMARC, MTA-STS, TLS-RPT, TLSA, BIMI, CAA
 *   check_domain_fetch.c    an MTA-STS policy by HTTPS */
#ifndef POSTBUS_CLI_CHECK_DOMAIN_H
#define POSTBUS_CLI_CHECK_DOMAIN_H

#include "services/cli/check/check.h"

enum { CHECK_DOMAIN_HOSTS_MAX = 16, CHECK_TYPE_NS = 2, CHECK_TYPE_TLSA = 52, CHECK_TYPE_CAA = 257 };

struct domain_check {
    struct cli *cli;
    struct arena *arena;
    struct trust_dns dns;
    const char *domain; /* A-labels */
    json_t *out;        /* the answer, part by part */
    json_t *problems;
    bool errors, unanswered;
    size_t host_count; /* of its MX, or the domain itself */
    const char *hosts[CHECK_DOMAIN_HOSTS_MAX];
    bool takes_no_mail;     /* null MX */
    bool dmarc_is_enforced; /* quarantine or reject */
};

enum problem { PROBLEM_WARNING, PROBLEM_ERROR };

/* Records a problem of a part ("mx", "spf", …), in words with the change to make; also as the
 * part's verdict when part_json is not NULL. */
void domain_problem(struct domain_check *c, const char *part, json_t *part_json, enum problem severity,
                    const char *say);
/* The answer; a missing answer is recorded. */
const struct trust_answer *domain_lookup(struct domain_check *c, const char *name, int type);
/* Bytes from DNS as printable ASCII, in the arena. */
const char *domain_text(struct domain_check *c, struct slice bytes);
/* The TXT records of name that begin with the version "v=…": all of them in *found (an array);
 * returns the first, or empty. */
struct slice domain_record(struct domain_check *c, const char *name, const char *version, json_t **found);

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
