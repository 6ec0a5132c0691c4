/* SPF (RFC 7208, with RFC 8616 for internationalised mail): whether a client may send for a domain.
 * Pure, over DNS answers (dns.h).
 *
 *   spf.c            the start of check_host(): identity, domain, client's address
 *   spf_evaluate.c   a domain's record, its terms left to right, include, redirect, exp
 *   spf_mechanism.c  the comparisons of a, mx, ptr, exists, ip4 and ip6
 *   spf_record.c     the grammar of a record and of its terms
 *   spf_macro.c      macros: their grammar and their expansion
 *   spf_step.c       lines of explanation */
#ifndef POSTBUS_TRUST_SPF_H
#define POSTBUS_TRUST_SPF_H

#include "libcommon/base/buf.h"
#include "libcommon/trust/dns.h"

enum {
    SPF_LOOKUPS_MAX = 10,   /* terms that query DNS (§4.6.4); beyond: permerror */
    SPF_VOID_MAX = 2,       /* void lookups (§4.6.4); beyond: permerror */
    SPF_ADDRESSES_MAX = 10, /* names of one mx (beyond: permerror) or ptr (beyond: ignored)
                               (§4.6.4) */
    SPF_STEPS_MAX = 200,    /* lines of explanation; beyond: left out */
};

enum spf_result { SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR };
const char *spf_result_text(enum spf_result r);

struct spf_query {
    struct slice ip;       /* text; IPv4 mapped into IPv6 counts as IPv4 (§5) */
    struct slice helo;     /* U-labels are allowed (RFC 8616 §4) */
    struct slice sender;   /* MAIL FROM without brackets; empty: the null reverse-path,
                              postmaster@helo (§2.4) */
    bool helo_identity;    /* check the HELO name itself, independent of the sender (§2.3) */
    struct slice receiver; /* our name, for the r macro */
    int64_t now;           /* seconds, for the t macro */
    bool explain;          /* make the steps too */
};

/* All text is printable ASCII, in the arena. */
struct spf_verdict {
    enum spf_result result;
    const char *reason;        /* in words */
    const char *scope;         /* "mfrom" or "helo": the identity that was checked */
    const char *domain;        /* the domain of that identity, as A-labels, for DMARC alignment (RFC
                                  9989 §4.4.2) */
    const char *mechanism;     /* the term that matched, or "default" (§9.1); "" when neither
                                  applies */
    const char *record_domain; /* the domain whose record has that term: differs from `domain` after
                                  a redirect; "" */
    const char *explanation;   /* of exp= (§6.2); "" */
    int lookups, void_lookups;
    size_t step_count; /* 0 unless query.explain */
    const char **steps;
};

/* check_host() (§4). TRUST_DONE with *out, or TRUST_PENDING: missing answers have been requested,
 * and the function must be run again. An invalid client address gives "none". The caller bounds the
 * time (§4.6.4: 20 s or more, then temperror): after that its DNS lookup must return
 * TRUST_DNS_FAILED with `late`, which gives a temperror even where a failed query alone does not
 * (§5.5). */
int spf_check(struct arena *arena, const struct spf_query *q, const struct trust_dns *dns, struct spf_verdict *out);

/* The values of the macros (§7.2). */
struct spf_macros {
    struct slice local, origin; /* l and o; s is both */
    struct slice domain;        /* d */
    struct slice validated;     /* p; empty: "unknown" */
    struct slice helo;          /* h */
    const unsigned char *ip;    /* i, c, v: 16 bytes, or 4 */
    bool v6;
    struct slice receiver; /* r; empty: "unknown" */
    int64_t now;           /* t */
};

enum spf_expansion {
    SPF_EXPANDED,
    SPF_MALFORMED,   /* a macro's grammar is broken (§7.1) */
    SPF_UNMATCHABLE, /* the result cannot be a domain name: a local part that is not ASCII (RFC 8616
                        §4) */
};

/* Expands a domain-spec into the name to look up (without final dot, at most 253 bytes: labels are
 * removed from the left, §7.3). With `text` it expands an explain-string, in which c, r and t are
 * also allowed and nothing is removed. *out is in the arena. */
enum spf_expansion spf_expand(struct arena *arena, struct slice spec, const struct spf_macros *m, bool text,
                              struct slice *out);

/* The grammar alone (§7.1, §12): a macro-string (text: an explain-string, with spaces and c, r, t);
 * a domain-spec, which is not empty and ends with a top label or a macro. */
bool spf_is_macro_string(struct slice s, bool text);
bool spf_is_domain_spec(struct slice s);
/* Whether the spec has the macro p, whose value needs DNS queries. */
bool spf_has_p_macro(struct slice spec);

#endif
