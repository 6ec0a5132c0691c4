/* DMARC (RFC 7489, and the tree walk of DMARCbis): what the domain in From asks for mail that proves nothing. */
#ifndef POSTBUS_TRUST_DMARC_H
#define POSTBUS_TRUST_DMARC_H

#include "libcommon/trust/dkim.h"
#include "libcommon/trust/spf.h"

enum dmarc_policy { DMARC_POLICY_NONE, DMARC_POLICY_QUARANTINE, DMARC_POLICY_REJECT };
enum dmarc_result { DMARC_NONE, DMARC_PASS, DMARC_FAIL, DMARC_TEMPERROR, DMARC_PERMERROR };
const char *dmarc_result_text(enum dmarc_result r);
const char *dmarc_policy_text(enum dmarc_policy p);

struct dmarc_record {
    enum dmarc_policy p, sp, np;
    bool has_sp, has_np, strict_dkim, strict_spf, testing;
    int pct;
    char psd; /* 'y', 'n' or 'u' (DMARCbis) */
    struct slice rua, ruf;
};
/* 0, or -1 when txt is no DMARC record (RFC 7489 §6.3: v=DMARC1 first; an unusable p with a rua counts as none, §6.6.3). */
int dmarc_record_parse(struct slice txt, struct dmarc_record *out);

/* The organizational domain of a name, by the public suffix list: a slice of name; the name itself when it is a suffix. */
struct slice dmarc_organizational_domain(struct slice name);

struct dmarc_verdict {
    enum dmarc_result result;
    enum dmarc_policy policy; /* that applies to this message, before pct */
    const char *reason;
    const char *from_domain, *record_domain;
    bool spf_aligned, dkim_aligned;
    struct dmarc_record record;
};

/* from: the one domain of the From field (empty: none or several: permerror). sampled: a number 0 to 99 for pct. TRUST_PENDING as elsewhere. */
int dmarc_check(struct arena *arena, struct slice from, const struct spf_verdict *spf, size_t dkim_count, const struct dkim_verdict dkim[],
                const struct trust_dns *dns, int sampled, struct dmarc_verdict *out);

#endif
