/* What DNS says, held against what a domain should publish. Pure: no I/O. */
#ifndef POSTBUS_VERIFIER_CHECK_JUDGE_H
#define POSTBUS_VERIFIER_CHECK_JUDGE_H

#include "services/verifier/dns/answer.h"
#include "services/verifier/zone/records.h"

enum check_state {
    CHECK_RIGHT,
    CHECK_MISSING,
    CHECK_WRONG,
    CHECK_CONFLICTING, /* something of others is in the way */
    CHECK_UNKNOWN,     /* DNS did not answer: nothing is said, neither good nor bad */
};
const char *check_state_text(enum check_state s);

/* Texts of an arena. */
struct check_texts {
    size_t n;
    const char **text;
};

/* One RRset, or something else that was looked at. */
struct check_finding {
    const char *name, *type, *purpose;
    bool needed;
    enum check_state state;
    struct check_texts wanted, found; /* the data in presentation format; TXT without quotes */
    const char *say;                  /* what is the matter and what to change; "" */
};

/* Whether the finding is a fault: something needed is missing, or anything is wrong or in conflict. */
bool check_is_fault(const struct check_finding *f);

/* A record's data as text: an address, "10 mx.example.org.", a TXT record's text without quotes, … Text of foreign
 * bytes is printable ASCII. */
const char *check_text_of(struct arena *arena, int type, const struct answer_record *record);
/* The same of a record that we want. */
const char *check_text_wanted(struct arena *arena, const struct dns_record *record);
/* The number of a type that we publish ("TXT": 16); 0 for others. */
int check_type(const char *type);

/* What else is known, for RRsets that can be right in more than one way. */
struct check_context {
    const char *domain, *mail_host;
    const struct answer *addresses[2]; /* A and AAAA of an alias' name, where an alias is wanted: others may have put
                                          addresses there instead; NULL */
    const struct answer *host_addresses[2]; /* A and AAAA of the mail host; NULL */
    int spf_covers; /* 1: another SPF record permits all our addresses, 0: it does not; -1: not looked at; -2: DNS did
                       not say */
};

/* Judges the RRset of wanted[0] (all n records are of it) by its answer. */
struct check_finding check_rrset(struct arena *arena, size_t n, const struct dns_record *const wanted[],
                                 const struct answer *answer, const struct check_context *context);

/* check_others.c: what is not a record of ours
 * -------------------------------------------------------------------------------------------------- */

/* The delegation: NS as the world sees them, against the site's own; names comma-separated, "" when the zone is
 * somebody else's. */
struct check_finding check_ns(struct arena *arena, const char *domain, const char *names, const struct answer *answer);
/* The DS records at the parent against those that the zone's keys need, with the state of DNSSEC for the domain. ds: of
 * update_ds; empty when we do not sign.
 */
struct check_finding check_ds(struct arena *arena, const char *domain, struct check_texts ds,
                              const struct answer *answer, const struct answer *soa);
/* The reverse name of an address that mail leaves from (RFC 8601 §3's iprev): it has to lead to name. */
struct check_finding check_ptr(struct arena *arena, const char *address, const char *name, const struct answer *answer);
/* The MTA-STS policy as fetched. status: of HTTP, 0 with the reason when it was not had. */
struct check_finding check_policy(struct arena *arena, const char *domain, const char *mode, const char *mail_host,
                                  int status, const char *content_type, struct slice body, const char *reason);

#endif
