/* All proofs of one incoming message together: SPF, DKIM, DMARC, ARC, reverse DNS; what follows for it; and what to write on top of it. */
#ifndef POSTBUS_TRUST_TRUST_H
#define POSTBUS_TRUST_TRUST_H

#include <jansson.h>

#include "libcommon/trust/arc.h"
#include "libcommon/trust/dmarc.h"

struct trust_input {
    struct slice client_ip, helo, mail_from;
    struct slice header;
    size_t digest_count;
    const struct body_digest *digests;
    struct slice authserv_id; /* our name (RFC 8601 §2.5) */
    int64_t now;              /* seconds */
    int sampled;              /* 0 to 99, for DMARC's pct */
    bool explain;             /* dkim and arc tell their steps */
};

enum trust_disposition { TRUST_ACCEPT, TRUST_QUARANTINE, TRUST_REJECT, TRUST_TEMPFAIL };

struct trust_drop {
    size_t offset, n;
};

struct trust_result {
    struct spf_verdict spf;
    size_t dkim_count;
    struct dkim_verdict *dkim;
    struct dmarc_verdict dmarc;
    struct arc_verdict arc;
    enum { IPREV_PASS, IPREV_FAIL, IPREV_TEMPERROR, IPREV_PERMERROR } iprev; /* RFC 8601 §2.7.3 */
    const char *client_name;                                                 /* validated by reverse DNS; "" */
    enum trust_disposition disposition;
    const char *enhanced, *reason; /* for a refusal */
    size_t drop_count;             /* foreign fields that claim to be ours (RFC 8601 §5) */
    struct trust_drop *drops;
};

/* TRUST_DONE with *out in the arena, or TRUST_PENDING: what is missing has been asked for. */
int trust_verify(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns, struct dkim_key_cache *cache, struct trust_result *out);

/* Adds "Authentication-Results: …" (RFC 8601) and "Received-SPF: …" (RFC 7208 §9.1), folded, each with CRLF. */
void trust_write_headers(const struct trust_input *in, const struct trust_result *r, struct buf *out);
/* {"spf":{"result":…},"dkim":[…],"dmarc":{…},"arc":{"cv":…},"iprev":{…}}; steps: with each step of the explanation. */
json_t *trust_result_json(const struct trust_result *r, bool steps);
const char *trust_disposition_text(enum trust_disposition d);

#endif
