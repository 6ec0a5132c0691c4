/* What the files of spf_*.c share. */
#ifndef POSTBUS_TRUST_SPF_PRIVATE_H
#define POSTBUS_TRUST_SPF_PRIVATE_H

#include "libcommon/trust/spf/spf.h"

enum {
    SPF_TERM_SHOWN_MAX = 200,
    SPF_RECORD_SHOWN_MAX = 600,
    SPF_NAME_SHOWN_MAX = 255
}; /* bytes of foreign text in words for people */
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

/* A term of a record, taken apart (§4.6.1, §12). */
struct spf_term {
    struct slice text; /* all of it */
    char qualifier;
    enum spf_kind kind;
    struct slice spec;         /* the domain-spec; empty: none, the current domain is meant */
    int cidr4, cidr6;          /* prefix lengths; 32 and 128 when not given */
    unsigned char address[16]; /* of ip4 and ip6 */
};

/* Takes the next term off *rest (terms are separated by spaces and nothing else, §12): false at the end. */
bool spf_next_word(struct slice *rest, struct slice *word);
/* NULL, or what is wrong with it in words. */
const char *spf_term_parse(struct slice word, struct spf_term *t);
static inline bool spf_term_is_modifier(const struct spf_term *t) { return t->kind >= SPF_REDIRECT; }
/* All terms behind "v=spf1" (§4.6: a syntax error anywhere is found before anything is evaluated): NULL with the
 * domain-specs of redirect and exp (empty: none), or what is wrong, and in which term. */
const char *spf_record_parse(struct slice terms, struct slice *redirect, struct slice *exp, struct slice *wrong);

/* What a term ends with. PENDING stops everything until DNS has answered. */
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
    bool late;        /* the time for all of it is up (§4.6.4) */
    int depth;        /* of include */
    int ahead;        /* questions asked before their term's turn */
};

/* One DNS question of a term, void ones counted (§4.6.4). SPF_NO_MATCH with *answer (status OK, NODATA or NXDOMAIN), or
 * what it ends with. A name that DNS cannot hold is not asked: it is as one that is not there (§4.8 leaves this open).
 */
enum spf_step spf_ask(struct spf_run *r, struct slice name, int type, const struct trust_answer **answer);
/* The same without counting; NULL: pending. */
const struct trust_answer *spf_lookup(struct spf_run *r, struct slice name, int type);
/* Whether a name is one that DNS can hold (RFC 1035 §2.3.4). */
bool spf_is_dns_name(struct slice name);

/* What a mechanism other than all and include compares with (§5.3 to §5.7). target: what its domain-spec expands to, or
 * the current domain. */
enum spf_step spf_mechanism(struct spf_run *r, const struct spf_term *t, struct slice target);
/* The value of the p macro (§7.3) for a domain: SPF_NO_MATCH with *name, empty for "unknown", or what the evaluation
 * ends with. counted: towards the limits. */
enum spf_step spf_validated_name(struct spf_run *r, struct slice domain, bool counted, struct slice *name);

/* check_host() of one domain, also for include and redirect: TRUST_DONE or TRUST_PENDING. */
int spf_check_host(struct spf_run *r, struct slice domain, enum spf_result *result);

/* Ends the evaluation with a permerror or temperror, for a reason that is printable. */
enum spf_step spf_wrong(struct spf_run *r, const char *reason);
enum spf_step spf_unsure(struct spf_run *r, const char *reason);
/* A line for people, when it is asked for: otherwise not even what stands in it is made. */
#define spf_step(r, ...)                                                                                               \
    do {                                                                                                               \
        if ((r)->query->explain) spf_step_add((r), __VA_ARGS__);                                                       \
    } while (0)
void spf_step_add(struct spf_run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Foreign bytes as printable ASCII, at most `max` of them. */
const char *spf_printable(struct arena *arena, struct slice s, size_t max);
/* "192.0.2.1, 192.0.2.2" of the first addresses of an answer. */
const char *spf_addresses_text(struct spf_run *r, const struct trust_answer *a);

#endif
