/* Shared declarations of spf_*.c. */
#ifndef POSTBUS_TRUST_SPF_PRIVATE_H
#define POSTBUS_TRUST_SPF_PRIVATE_H

#include "libcommon/trust/spf/spf.h"

enum {
    SPF_TERM_SHOWN_MAX = 200,
    SPF_RECORD_SHOWN_MAX = 600,
    SPF_NAME_SHOWN_MAX = 255
}; /* bytes of a record or name that are quoted in an explanation */
#define SPF_TOO_LATE "DNS took longer than a check may (RFC 7208 section 4.6.4)"
#define SPF_TOO_MANY_TERMS "more than ten terms ask DNS (RFC 7208 section 4.6.4)"

enum spf_kind {
    SPF_ALL,
    SPF_INCLUDE,
    SPF_A,
    SPF_MX,
    SPF_PTR,
    SPF_IP4,
    SPF_IP6,
    SPF_EXISTS,
    SPF_REDIRECT,
    SPF_EXP,
    SPF_OTHER
};

/* The parts of a term of a record (§4.6.1, §12). */
struct spf_term {
    struct slice text; /* all of it */
    char qualifier;
    enum spf_kind kind;
    struct slice spec;         /* the domain-spec; empty: none, the current domain is meant */
    int cidr4, cidr6;          /* prefix lengths; 32 and 128 when not given */
    unsigned char address[16]; /* of ip4 and ip6 */
};

/* Removes the next term from *rest (terms are separated only by spaces, §12): false at the end. */
bool spf_next_word(struct slice *rest, struct slice *word);
/* NULL, or the fault in words. */
const char *spf_term_parse(struct slice word, struct spf_term *t);
static inline bool spf_term_is_modifier(const struct spf_term *t) { return t->kind >= SPF_REDIRECT; }
/* Parses all terms after "v=spf1" (§4.6: a syntax error anywhere is found before anything is
 * evaluated): NULL with the domain-specs of redirect and exp (empty: none), or the fault, and the
 * term that has it. */
const char *spf_record_parse(struct slice terms, struct slice *redirect, struct slice *exp, struct slice *wrong);

/* The result of a term. PENDING stops the evaluation until DNS has answered. */
enum spf_step { SPF_NO_MATCH, SPF_MATCH, SPF_STOP_TEMP, SPF_STOP_PERM, SPF_STOP_PENDING };

struct spf_run {
    struct arena *arena;
    const struct spf_query *query;
    const struct trust_dns *dns;
    struct spf_verdict *out;
    struct slice local, origin, helo; /* domains as A-labels */
    unsigned char ip[16];
    bool v6;
    const char *ip_text;
    bool names_asked; /* the client's PTR records were counted */
    bool late;        /* the time limit has expired (§4.6.4) */
    int depth;        /* of include */
    int ahead;        /* queries of later terms that were sent early */
};

/* One DNS query of a term; void lookups are counted (§4.6.4). SPF_NO_MATCH with *answer (status OK,
 * NODATA or NXDOMAIN), or the step that ends the evaluation. A name that is invalid in DNS is not
 * queried and counts as nonexistent (§4.8 leaves this open). */
enum spf_step spf_ask(struct spf_run *r, struct slice name, int type, const struct trust_answer **answer);
/* The same without counting; NULL: pending. */
const struct trust_answer *spf_lookup(struct spf_run *r, struct slice name, int type);
/* Whether a name is valid in DNS (RFC 1035 §2.3.4). */
bool spf_is_dns_name(struct slice name);

/* Evaluates a mechanism other than all and include (§5.3 to §5.7). target: its expanded
 * domain-spec, or the current domain. */
enum spf_step spf_mechanism(struct spf_run *r, const struct spf_term *t, struct slice target);
/* The value of the p macro (§7.3) for a domain: SPF_NO_MATCH with *name, empty for "unknown", or
 * the step that ends the evaluation. counted: the queries count towards the limits. */
enum spf_step spf_validated_name(struct spf_run *r, struct slice domain, bool counted, struct slice *name);

/* check_host() of one domain, also for include and redirect: TRUST_DONE or TRUST_PENDING. */
int spf_check_host(struct spf_run *r, struct slice domain, enum spf_result *result);

/* Ends the evaluation with a permerror or temperror; reason must be printable. */
enum spf_step spf_wrong(struct spf_run *r, const char *reason);
enum spf_step spf_unsure(struct spf_run *r, const char *reason);
/* Adds a line of explanation when it is requested; otherwise its arguments are not evaluated. */
#define spf_step(r, ...)                                                                                               \
    do {                                                                                                               \
        if ((r)->query->explain) spf_step_add((r), __VA_ARGS__);                                                       \
    } while (0)
void spf_step_add(struct spf_run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* At most `max` bytes of s as printable ASCII. */
const char *spf_printable(struct arena *arena, struct slice s, size_t max);
/* "192.0.2.1, 192.0.2.2" of the first addresses of an answer. */
const char *spf_addresses_text(struct spf_run *r, const struct trust_answer *a);

#endif
