/* The syntax of a record (RFC 7208 §4.6.1, §12). */
#ifndef POSTBUS_TRUST_SPF_RECORD_H
#define POSTBUS_TRUST_SPF_RECORD_H

#include "libcommon/trust/spf/spf.h"

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

#endif
