/* SPF (RFC 7208): whether a client may send for a domain. Pure, over what DNS answered (dns.h). */
#ifndef POSTBUS_TRUST_SPF_H
#define POSTBUS_TRUST_SPF_H

#include "libcommon/base/buf.h"
#include "libcommon/trust/dns.h"

enum {
    SPF_LOOKUPS_MAX = 10,   /* terms that ask DNS (§4.6.4) */
    SPF_VOID_MAX = 2,       /* lookups that find nothing (§4.6.4) */
    SPF_ADDRESSES_MAX = 10, /* names of one mx or ptr (§4.6.4) */
    SPF_RECORD_MAX = 4096,  /* bytes of one record */
    SPF_STEPS_MAX = 200,    /* lines of explanation */
};

enum spf_result { SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR };
const char *spf_result_text(enum spf_result r);

struct spf_query {
    struct slice ip; /* text; IPv4 mapped into IPv6 counts as IPv4 */
    struct slice helo;
    struct slice sender;   /* MAIL FROM; empty: postmaster@helo (§2.4) */
    bool helo_identity;    /* check the HELO name itself (§2.3) */
    struct slice receiver; /* our name, for the r macro */
    int64_t now;           /* seconds, for the t macro */
};

struct spf_verdict {
    enum spf_result result;
    const char *reason;      /* in words */
    const char *mechanism;   /* the term that matched, "all" …; "" */
    const char *domain;      /* whose record decided */
    const char *explanation; /* of exp= (§6.2); "" */
    int lookups, void_lookups;
    size_t step_count;
    const char **steps; /* what was looked at, line by line */
};

/* check_host() (§4). TRUST_PENDING: what is missing has been asked for. Everything in *out is of the arena. */
int spf_check(struct arena *arena, const struct spf_query *q, const struct trust_dns *dns, struct spf_verdict *out);

/* Expands a domain-spec or macro-string (§7): 0, or -1 when it is malformed. exp: c, r and t are allowed (§7.2). validated: the p macro's name, or "". */
int spf_expand(struct arena *arena, struct slice spec, const struct spf_query *q, struct slice sender, struct slice domain, struct slice validated, bool exp,
               struct slice *out);

#endif
