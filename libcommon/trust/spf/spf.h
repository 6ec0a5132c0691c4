/* SPF (RFC 7208, with RFC 8616 for internationalised mail): whether a client may send for a domain. Pure, over what DNS
 * answered (dns.h).
 *
 *   spf.c            check_host() begins: which identity, which domain, the client's address
 *   spf_evaluate.c   a domain's record, its terms left to right, include, redirect, exp
 *   spf_mechanism.c  what a, mx, ptr, exists, ip4 and ip6 compare the client with
 *   spf_record.c     the grammar of a record and of its terms
 *   spf_macro.c      macros: their grammar and their expansion
 *   spf_step.c       what was looked at, in words for people
 */
#ifndef POSTBUS_TRUST_SPF_H
#define POSTBUS_TRUST_SPF_H

#include "libcommon/base/buf.h"
#include "libcommon/trust/dns.h"

enum {
    SPF_LOOKUPS_MAX = 10,   /* terms that ask DNS (§4.6.4); beyond: permerror */
    SPF_VOID_MAX = 2,       /* lookups that find nothing (§4.6.4); beyond: permerror */
    SPF_ADDRESSES_MAX = 10, /* names of one mx (beyond: permerror) or ptr (beyond: not looked at) (§4.6.4) */
    SPF_STEPS_MAX = 200,    /* lines for people; beyond: left out */
};

enum spf_result { SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR };
const char *spf_result_text(enum spf_result r);

struct spf_query {
    struct slice ip;       /* text; IPv4 mapped into IPv6 counts as IPv4 (§5) */
    struct slice helo;     /* U-labels are allowed (RFC 8616 §4) */
    struct slice sender;   /* MAIL FROM without brackets; empty: the null reverse-path, postmaster@helo (§2.4) */
    bool helo_identity;    /* check the HELO name itself, whatever the sender (§2.3) */
    struct slice receiver; /* our name, for the r macro */
    int64_t now;           /* seconds, for the t macro */
    bool explain;          /* make the steps too */
};

/* All text is printable ASCII and of the arena. */
struct spf_verdict {
    enum spf_result result;
    const char *reason;        /* in words */
    const char *scope;         /* "mfrom" or "helo": the identity that was checked */
    const char *domain;        /* of that identity, as A-labels: what DMARC aligns with (RFC 9989 §4.4.2) */
    const char *mechanism;     /* the term that matched, or "default" (§9.1); "" when none of this applies */
    const char *record_domain; /* whose record that term stands in: another than `domain` after a redirect; "" */
    const char *explanation;   /* of exp= (§6.2); "" */
    int lookups, void_lookups;
    size_t step_count; /* 0 unless query.explain */
    const char **steps;
};

/* check_host() (§4). TRUST_DONE with *out, or TRUST_PENDING: what is missing has been asked for; run it again when that
 * is known. A client address that is none gives "none". Time is the caller's to bound (§4.6.4: 20 s or more, then
 * temperror): it makes its DNS answer TRUST_DNS_FAILED with `late` from then on, which is a temperror also where a
 * failure alone is none (§5.5). */
int spf_check(struct arena *arena, const struct spf_query *q, const struct trust_dns *dns, struct spf_verdict *out);

/* What the macros stand for (§7.2). */
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
    SPF_UNMATCHABLE, /* it names what no domain name can hold: a local part that is not ASCII (RFC 8616 §4) */
};

/* Expands a domain-spec into the name to look up (without final dot, at most 253 bytes: labels are cut from the left,
 * §7.3), or (text) an explain-string, where c, r and t are allowed too and nothing is cut. *out is of the arena. */
enum spf_expansion spf_expand(struct arena *arena, struct slice spec, const struct spf_macros *m, bool text,
                              struct slice *out);

/* The grammar alone (§7.1, §12): a macro-string (text: an explain-string, with spaces and c, r, t); a domain-spec,
 * which is not empty and ends with a top label or a macro. */
bool spf_is_macro_string(struct slice s, bool text);
bool spf_is_domain_spec(struct slice s);
/* Whether the macro p stands in it: its value costs DNS questions. */
bool spf_has_p_macro(struct slice spec);

#endif
