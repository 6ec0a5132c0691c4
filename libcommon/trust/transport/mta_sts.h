/* MTA-STS records and policies (RFC 8461): pure parsers. */
#ifndef POSTBUS_TRUST_MTA_STS_H
#define POSTBUS_TRUST_MTA_STS_H

#include "libcommon/base/arena.h"

enum { MTA_STS_MX_MAX = 100, MTA_STS_POLICY_BYTES_MAX = 64 * 1024, MTA_STS_MAX_AGE_MAX = 31557600 };
enum mta_sts_mode { MTA_STS_NONE, MTA_STS_TESTING, MTA_STS_ENFORCE };

struct mta_sts_policy {
    enum mta_sts_mode mode;
    uint32_t max_age; /* seconds, at most MTA_STS_MAX_AGE_MAX */
    size_t mx_count;
    const struct slice *mx; /* lower case; "*.example.com" for one label more */
};

/* Whether a TXT record is an MTA-STS record at all (§3.1): it begins with "v=STSv1;". A domain has
 * a policy only if it has exactly one such record. */
bool mta_sts_record_is(struct slice txt);
/* A TXT record "v=STSv1; id=…" (§3.1): 0 and *id, or -1 when it is malformed. */
int mta_sts_record_parse(struct slice txt, struct slice *id);
/* Parses a policy (§3.2): 0, or -1 when it is malformed or lacks a required field. */
int mta_sts_policy_parse(struct arena *arena, struct slice text, struct mta_sts_policy *out);
/* Whether one pattern of a policy, an exact name or one with "*." for one label, matches this host
 * (§4.1). */
bool mta_sts_pattern_allows(struct slice pattern, struct slice host);
/* Whether the policy allows this MX host (§4.1). */
bool mta_sts_allows(const struct mta_sts_policy *policy, struct slice host);
/* "enforce", "testing", "none". */
const char *mta_sts_mode_text(enum mta_sts_mode mode);

#endif
