/* The complete verification of one incoming message: SPF, DKIM, DMARC, ARC, reverse DNS; the
 * disposition; and the header fields to add at its top. */
#ifndef POSTBUS_TRUST_TRUST_H
#define POSTBUS_TRUST_TRUST_H

#include "libcommon/base/json.h"

#include "libcommon/trust/arc/arc.h"
#include "libcommon/trust/dmarc/dmarc.h"
#include "libcommon/trust/verdict/trust_policy.h"

enum { TRUST_REASONS_MAX = 3, TRUST_IPREV_STEPS_MAX = 30 };

struct trust_input {
    struct slice client_ip, helo, mail_from;
    struct slice header;
    size_t digest_count;
    const struct body_digest *digests;
    struct slice authserv_id;          /* our name (RFC 8601 §2.5) */
    int64_t now;                       /* seconds */
    int sampled;                       /* 0 to 99, for DMARC's pct */
    bool smtputf8;                     /* the message is internationalised (RFC 6531): the added
                                          fields may contain UTF-8 (RFC 8616 §6) */
    bool explain;                      /* explain each step */
    const struct trust_policy *policy; /* NULL: the defaults */
};

/* TRUST_HOLD: accepted, and kept in the queue until a person decides. */
enum trust_disposition { TRUST_ACCEPT, TRUST_QUARANTINE, TRUST_HOLD, TRUST_REJECT, TRUST_TEMPFAIL };

struct trust_drop {
    size_t offset, n;
};

/* The reason why the disposition differs from the record's policy (RFC 7489 App. C, RFC 9990:
 * PolicyOverrideReason). */
struct trust_reason {
    const char *type; /* "local_policy", "policy_test_mode", "sampled_out" */
    const char *comment;
};

struct trust_result {
    struct spf_verdict spf;      /* of MAIL FROM; of postmaster@HELO when the reverse-path is null
                                    (RFC 7208 §2.4) */
    struct spf_verdict spf_helo; /* of the HELO identity (§2.3), when that differs */
    bool helo_checked, null_sender;
    size_t dkim_count;
    struct dkim_verdict *dkim;
    struct dmarc_verdict dmarc;
    struct arc_verdict arc;
    enum { IPREV_PASS, IPREV_FAIL, IPREV_TEMPERROR, IPREV_PERMERROR } iprev; /* RFC 8601 §2.7.3 */
    const char *client_name;                                                 /* validated by reverse DNS; "" */
    size_t iprev_step_count;
    const char **iprev_steps;
    enum trust_disposition disposition;
    enum dmarc_policy dmarc_disposition; /* the action that follows from DMARC */
    size_t override_count;
    struct trust_reason overrides[TRUST_REASONS_MAX];
    const char *enhanced, *reason; /* for a refusal: RFC 3463, 7372; in words (also for TRUST_HOLD) */
    size_t drop_count;             /* received fields that claim to be from this site (RFC 8601
                                      §5) */
    struct trust_drop *drops;
};

/* TRUST_DONE with *out in the arena, or TRUST_PENDING: missing answers have been requested. */
int trust_verify(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns,
                 struct dkim_key_cache *cache, struct trust_result *out);

/* Adds "Authentication-Results: …" (RFC 8601) and "Received-SPF: …" (RFC 7208 §9.1), folded, each
 * with CRLF. */
void trust_write_headers(const struct trust_input *in, const struct trust_result *r, struct buf *out);
/* Adds the members
 * "spf":{"result":…},"spf_helo":…,"dkim":[…],"dmarc":{…},"arc":{"cv":…},"iprev":{…} to the object
 * that is being written; steps: include the explanation. */
void trust_result_put(const struct trust_result *r, bool steps, struct json_put *j);
const char *trust_disposition_text(enum trust_disposition d);

#endif
