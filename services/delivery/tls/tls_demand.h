/* What TLS must be like on the way to one host: what the recipient's domain asks for (DANE before MTA-STS, RFC 8461
 * §2), and what the sender does (RFC 8689). Pure. */
#ifndef POSTBUS_DELIVERY_TLS_DEMAND_H
#define POSTBUS_DELIVERY_TLS_DEMAND_H

#include <jansson.h>

#include "libcommon/base/arena.h"
#include "libcommon/trust/transport/dane.h"

enum tls_level {
    TLS_MAY,     /* opportunistic (RFC 7435): used when offered, whoever the peer is; else plain text */
    TLS_NEVER,   /* after a handshake failed under TLS_MAY */
    TLS_ENCRYPT, /* a must, whoever the peer is: TLSA records that cannot be used (RFC 7672 §2.2) */
    TLS_PKIX,    /* a must, the certificate valid for the host's name: MTA-STS enforce, or REQUIRETLS */
    TLS_DANE,    /* a must, the certificate matches a TLSA record (RFC 7672) */
};

enum tls_policy { TLS_POLICY_NONE, TLS_POLICY_TLSA, TLS_POLICY_STS };

/* What this side asks for. */
struct tls_wish {
    bool dane;     /* this site sends to the domain by DANE or not at all (POSTBUS_DANE_REQUIRED) */
    bool required; /* MAIL's REQUIRETLS (RFC 8689 §4.2.1) */
    bool waived; /* the header field "TLS-Required: No": the recipient's policies are not to stand in the way (§4.2.2);
                    nothing beside `required` */
};

struct tls_demand {
    enum tls_level level;
    enum tls_policy policy; /* what the domain says of this host, for reports (RFC 8460 §4.4) */
    bool waived;            /* the sender waived all of that */
    bool unlisted;          /* the MTA-STS policy does not name the host; it may be used for the policy only tests */
    size_t tlsa_count, name_count;
    struct dane_record tlsa[DANE_RECORDS_MAX]; /* TLS_DANE: to verify with */
    const char *names[DANE_NAMES_MAX]; /* the names the certificate may have, the one to send as server name first */
    const char *refusal_result;        /* what a TLS report says of that (RFC 8460 §4.3); NULL: nothing */
    const char *refusal;               /* why the host may not be used at all; NULL: it may */
};

/* route: verifier.route's reply; host: one of its hosts. out's texts are the arena's or the route's. */
void tls_demand_make(struct arena *arena, const json_t *route, const json_t *host, const struct tls_wish *wish,
                     struct tls_demand *out);
/* Whether a message says "TLS-Required: No" (RFC 8689 §3), in one field of that name. */
bool tls_message_waives(struct slice message);
/* Whether a comma-separated list of domains has this one (as in an address, in any of its forms). */
bool tls_list_names(struct slice list, struct slice domain);

#endif
