/* The demands on TLS for one host: those of the recipient's domain (DANE before MTA-STS, RFC 8461
 * §2) and those of the sender (RFC 8689). Pure. */
#ifndef POSTBUS_DELIVERY_TLS_DEMAND_H
#define POSTBUS_DELIVERY_TLS_DEMAND_H

#include <jansson.h>

#include "libcommon/base/arena.h"
#include "libcommon/trust/transport/dane.h"

enum tls_level {
    TLS_MAY,     /* opportunistic (RFC 7435): used when offered, without authentication; otherwise
                    plain text */
    TLS_NEVER,   /* after a handshake failed under TLS_MAY */
    TLS_ENCRYPT, /* required, without authentication: unusable TLSA records (RFC 7672 §2.2) */
    TLS_PKIX,    /* required, with a certificate that is valid for the host's name: MTA-STS enforce,
                    or REQUIRETLS */
    TLS_DANE,    /* required, with a certificate that matches a TLSA record (RFC 7672) */
};

enum tls_policy { TLS_POLICY_NONE, TLS_POLICY_TLSA, TLS_POLICY_STS };

/* The demands of this side. */
struct tls_wish {
    bool dane;     /* this site sends to the domain only with DANE (POSTBUS_DANE_REQUIRED) */
    bool required; /* MAIL's REQUIRETLS (RFC 8689 §4.2.1) */
    bool waived;   /* the header field "TLS-Required: No": the recipient's policies are ignored
                      (§4.2.2); no effect together with `required` */
};

struct tls_demand {
    enum tls_level level;
    enum tls_policy policy; /* the domain's policy for this host, for reports (RFC 8460 §4.4) */
    bool waived;            /* the sender waived these demands */
    bool unlisted;          /* the MTA-STS policy does not name the host, which may be used because
                               of mode testing */
    size_t tlsa_count, name_count;
    struct dane_record tlsa[DANE_RECORDS_MAX]; /* TLS_DANE: to verify with */
    const char *names[DANE_NAMES_MAX];         /* the names the certificate may have, the one to
                                                  send as server name first */
    const char *refusal_result;                /* its result type in a TLS report (RFC 8460 §4.3);
                                                  NULL: none */
    const char *refusal;                       /* why the host must not be used; NULL: it may be
                                                  used */
};

/* route: verifier.route's reply; host: one of its hosts. out's texts are in the arena or the
 * route. */
void tls_demand_make(struct arena *arena, const json_t *route, const json_t *host, const struct tls_wish *wish,
                     struct tls_demand *out);
/* Whether a message says "TLS-Required: No" (RFC 8689 §3), in one field of that name. */
bool tls_message_waives(struct slice message);
/* Whether a comma-separated list of domains has this one (as in an address, in any of its
 * forms). */
bool tls_list_names(struct slice list, struct slice domain);

#endif
