/* DMARC (RFC 9989, which replaces RFC 7489 and 9091): the policy of the domain in From for mail
 * that is not authenticated. Pure, over DNS answers (dns.h).
 *
 * Three files: dmarc_record.c reads a record, dmarc_walk.c finds records and organizational
 * domains, dmarc.c evaluates a message.
 *
 * Where the two RFCs differ, RFC 9989 decides. Two things of RFC 7489 are kept:
 *   - pct (§6.3, §6.6.4) is applied in a record without t: its owner wrote it for RFC 7489 and does
 *     not want all of the mail to be refused. A record with t was written for RFC 9989, and its pct
 *     is an unknown tag (§4.7, Appendix C.5.2).
 *   - the public suffix list (§3.2) instead of the tree walk, when the caller sets
 *     DMARC_PUBLIC_SUFFIXES. */
#ifndef POSTBUS_TRUST_DMARC_H
#define POSTBUS_TRUST_DMARC_H

#include "libcommon/trust/dkim/dkim.h"
#include "libcommon/trust/spf/spf.h"

enum {
    DMARC_QUERIES_MAX = 8,     /* queries of one tree walk (RFC 9989 §4.10) */
    DMARC_RECORD_MAX = 4096,   /* bytes of a record; a longer text is not a record */
    DMARC_IDENTIFIERS_MAX = 8, /* domains that passed, below the author's organizational domain,
                                  whose organizational domain is looked up; further ones do not
                                  align */
    DMARC_STEPS_MAX = 100,     /* lines of explanation */
};

enum dmarc_policy { DMARC_POLICY_NONE, DMARC_POLICY_QUARANTINE, DMARC_POLICY_REJECT };
enum dmarc_result { DMARC_NONE, DMARC_PASS, DMARC_FAIL, DMARC_TEMPERROR, DMARC_PERMERROR }; /* RFC 7489 §11.2 */
const char *dmarc_result_text(enum dmarc_result r);
const char *dmarc_policy_text(enum dmarc_policy p);

/* A record (RFC 9989 §4.7) with the effective values of its tags: a malformed tag has its default
 * value (§4.8). */
struct dmarc_record {
    bool usable; /* false: no valid p, sp or np and no rua either: no DMARC for this message
                    (§4.10.1). psd is valid nevertheless */
    enum dmarc_policy p, sp, np;
    bool has_sp, has_np, strict_dkim, strict_spf, testing;
    int pct;               /* 0 to 100; 100 in a record with t */
    char psd;              /* 'y', 'n' or 'u' */
    struct slice fo;       /* "0" when it is missing or malformed */
    struct slice rua, ruf; /* lists of URIs, as written; p is NULL when there is none */
    uint32_t ri;           /* seconds; RFC 7489 §6.3, not in RFC 9989; 86400 when it is missing */
};
/* 0, or -1 when txt is not a DMARC record because it does not begin with v=DMARC1 (§4.7). Slices of
 * txt. */
int dmarc_record_parse(struct slice txt, struct dmarc_record *out);

/* One of a list of reporting URIs (§4.6). */
struct dmarc_uri {
    struct slice uri;    /* without the size */
    uint64_t size_limit; /* bytes; 0: none. "!10m" after a URI: RFC 7489 §6.4; ignored by RFC 9989
                            §4.8 */
};
/* Removes the next well-formed URI from the list; false at its end. Malformed ones are skipped. */
bool dmarc_uri_next(struct slice *list, struct dmarc_uri *out);

enum dmarc_discovery { DMARC_TREE_WALK, DMARC_PUBLIC_SUFFIXES };

/* The result of a tree walk (§4.10) at one name. */
enum dmarc_found {
    DMARC_FOUND_NOTHING,
    DMARC_FOUND_RECORD,
    DMARC_FOUND_SEVERAL /* all are discarded */,
    DMARC_FOUND_NO_ANSWER
};
struct dmarc_stop {
    struct slice domain; /* a slice of the name where the walk began; the query was for
                            _dmarc.<domain> */
    enum dmarc_found found;
    bool name_exists; /* _dmarc.<domain> exists, so the domain exists too (RFC 8020); false: not
                         known from this answer */
    struct slice text;
    struct dmarc_record record;
};
struct dmarc_walk {
    size_t count; /* queried names, the longest first */
    struct dmarc_stop stops[DMARC_QUERIES_MAX];
    bool no_answer;            /* DNS failed, and therefore the organizational domain is not
                                  known */
    struct slice organization; /* the organizational domain (§4.10.2) */
    ptrdiff_t suffix;          /* index of the stop with a public suffix domain's record (psd=y)
                                  that ended the walk; -1: none */
};
/* Looks up the record of stop->domain only. TRUST_PENDING as elsewhere. */
int dmarc_look(struct arena *arena, const struct trust_dns *dns, struct dmarc_stop *stop);
/* Walks up from domain (lower case, A-labels). TRUST_PENDING as elsewhere. With
 * DMARC_PUBLIC_SUFFIXES: the name and its organizational domain by that list. */
int dmarc_walk(struct arena *arena, const struct trust_dns *dns, struct slice domain, enum dmarc_discovery how,
               struct dmarc_walk *out);

/* The organizational domain of a name by the public suffix list (RFC 7489 §3.2): a slice of name;
 * the name itself when it is a suffix. */
struct slice dmarc_organizational_domain(struct slice name);

struct dmarc_query {
    struct slice from; /* the author domain: lower case, A-labels */
    enum spf_result spf;
    struct slice spf_domain; /* of MAIL FROM, or of HELO when the reverse-path is null (RFC 7208
                                §2.4); not the domain of the record that decided */
    size_t dkim_count;
    const struct dkim_verdict *dkim;
    enum dmarc_discovery discovery;
    int sampled;       /* 0 to 99, for pct */
    bool no_alignment; /* nothing can be aligned in this message (§4.4: there are two From
                          fields) */
    bool explain;      /* explain */
};

struct dmarc_verdict {
    enum dmarc_result result;
    enum dmarc_policy policy;  /* published for this author: p, sp or np */
    enum dmarc_policy applied; /* the same after t and pct */
    const char *relief;        /* "policy_test_mode" (RFC 9990), "sampled_out" (RFC 7489 App. C)
                                  where applied is milder than policy; "" */
    bool uncertain;            /* temperror: a missing DNS answer could lead to a refusal or to a
                                  pass */
    const char *reason;        /* in words */
    const char *from_domain, *record_domain, *organizational_domain; /* "" when there is none or it was not needed */
    bool spf_aligned, dkim_aligned;                                  /* passed, and aligned */
    bool has_record;
    struct dmarc_record record;
    size_t step_count;
    const char **steps; /* lines of explanation */
};

/* Evaluates a message. TRUST_PENDING as elsewhere. Everything in *out is in the arena. */
int dmarc_check(struct arena *arena, const struct dmarc_query *q, const struct trust_dns *dns,
                struct dmarc_verdict *out);

#endif
