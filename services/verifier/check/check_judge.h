/* Compares DNS answers with the records that a domain should publish. Pure: no I/O. */
#ifndef POSTBUS_VERIFIER_CHECK_JUDGE_H
#define POSTBUS_VERIFIER_CHECK_JUDGE_H

#include "services/verifier/dns/answer.h"
#include "services/verifier/zone/records.h"

enum check_state {
    CHECK_RIGHT,
    CHECK_MISSING,
    CHECK_WRONG,
    CHECK_CONFLICTING, /* other records are beside it or in its place */
    CHECK_UNKNOWN,     /* DNS did not answer, so there is no result */
};
const char *check_state_text(enum check_state s);

/* Texts in an arena. */
struct check_texts {
    size_t n;
    const char **text;
};

/* One RRset, or another thing that was checked. */
struct check_finding {
    const char *name, *type, *purpose;
    bool needed;
    enum check_state state;
    struct check_texts wanted, found; /* the data in presentation format; TXT without quotes */
    const char *say;                  /* the fault and what to change; "" */
};

/* Whether the finding is a fault: something needed is missing, or anything is wrong or in
 * conflict. */
bool check_is_fault(const struct check_finding *f);

/* A record's data as text: an address, "10 mx.example.org.", a TXT record's text without quotes, …
 * All text is printable ASCII. */
const char *check_text_of(struct arena *arena, int type, const struct answer_record *record);
/* The same for a wanted record. */
const char *check_text_wanted(struct arena *arena, const struct dns_record *record);
/* The number of a type that we publish ("TXT": 16); 0 for others. */
int check_type(const char *type);

/* Further facts, for RRsets that can be right in more than one way. */
struct check_context {
    const char *domain, *mail_host;
    const struct answer *addresses[2];      /* A and AAAA of the name where an alias is wanted,
                                               because a provider may publish addresses there
                                               instead; NULL */
    const struct answer *host_addresses[2]; /* A and AAAA of the mail host; NULL */
    int spf_covers;                         /* 1: another SPF record permits all our addresses, 0:
                                               it does not; -1: not checked; -2: DNS did not
                                               answer */
};

/* Judges the RRset of wanted[0] (all n records are of it) by its answer. */
struct check_finding check_rrset(struct arena *arena, size_t n, const struct dns_record *const wanted[],
                                 const struct answer *answer, const struct check_context *context);

/* check_others.c: checks of things other than our records */

/* The delegation: the NS records as seen from outside, compared with the site's name servers
 * (comma-separated; "" when another provider serves the zone). */
struct check_finding check_ns(struct arena *arena, const char *domain, const char *names, const struct answer *answer);
/* The DS records at the parent, compared with those that the zone's keys need, and the domain's
 * DNSSEC status. ds: of update_ds; empty when we do not sign. */
struct check_finding check_ds(struct arena *arena, const char *domain, struct check_texts ds,
                              const struct answer *answer, const struct answer *soa);
/* The reverse name of an address of outgoing connections (iprev, RFC 8601 §3): it must be name. */
struct check_finding check_ptr(struct arena *arena, const char *address, const char *name, const struct answer *answer);
/* The MTA-STS policy as fetched. status: of HTTP, 0 with the reason when it could not be
 * fetched. */
struct check_finding check_policy(struct arena *arena, const char *domain, const char *mode, const char *mail_host,
                                  int status, const char *content_type, struct slice body, const char *reason);

#endif
