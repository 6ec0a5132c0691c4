/* The operator's settings for messages that fail verification, read once at start-up. */
#ifndef POSTBUS_TRUST_TRUST_POLICY_H
#define POSTBUS_TRUST_TRUST_POLICY_H

#include "libcommon/trust/dmarc/dmarc.h"

enum { TRUST_SEALERS_MAX = 100, TRUST_OVERRIDES_MAX = 500 };

enum trust_action {
    TRUST_ACTION_NONE,
    TRUST_ACTION_ACCEPT,
    TRUST_ACTION_QUARANTINE,
    TRUST_ACTION_HOLD,
    TRUST_ACTION_REJECT
};

/* One row of POSTBUS_DMARC_OVERRIDES: all given conditions must be met. */
struct trust_override {
    struct slice from;    /* the author domain; ".example.org": it and all below it; empty: any */
    struct slice spf;     /* a domain for which SPF passed, in the same forms */
    struct slice sealer;  /* the newest seal's domain, of an ARC chain that passes */
    bool has_network, v6; /* the client */
    unsigned char network[16];
    int bits;
    enum trust_action action;
    struct slice text; /* the text of the row */
};

struct trust_policy {
    enum dmarc_discovery discovery;
    bool reject_spf_fail;   /* refuse on SPF fail where there is no DMARC record */
    bool reject_iprev_fail; /* refuse a client whose reverse name does not resolve to its address */
    size_t sealer_count, override_count;
    struct slice *sealers; /* A-labels, lower case */
    struct trust_override *overrides;
};

/* Texts of the settings; NULL or "" is the default.
 *   discovery:  "treewalk" (RFC 9989, the default) or "psl" (RFC 7489)
 *   sealers:    domains, comma-separated, whose ARC seals are trusted (RFC 8617 §7.2)
 *   overrides:  rows separated by ";", each with at least one condition:
 *               "[from=D] [ip=NETWORK] [sealer=D] [spf=D] accept|quarantine|hold|reject|none";
 *               the first row that matches a message that fails DMARC decides about it
 *   spf, iprev: "mark" (the default) or "reject" */
struct trust_settings {
    const char *discovery, *sealers, *overrides, *spf, *iprev;
};

/* The policy, of the arena; NULL for invalid settings, with the setting and the reason in
 * *wrong. */
const struct trust_policy *trust_policy_parse(struct arena *arena, const struct trust_settings *s, const char **wrong);
/* Whether the client's address is in the row's network; true when it has none. IPv4 mapped into
 * IPv6 counts as IPv4. */
bool trust_override_fits_client(const struct trust_override *o, struct slice ip);
/* Whether name meets a condition ("": any name; "d": only d; ".d": d and all names below it). */
bool trust_override_fits_domain(struct slice condition, struct slice name);

#endif
