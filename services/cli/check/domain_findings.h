/* What the parts of `postbus check domain` share: the domain, its DNS, and the problems that were found. */
#ifndef POSTBUS_CLI_DOMAIN_FINDINGS_H
#define POSTBUS_CLI_DOMAIN_FINDINGS_H

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

#endif
