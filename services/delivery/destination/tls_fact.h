/* The TLS result of one connection attempt, for domains that ask for reports (TLS-RPT, RFC 8460):
 * the event mail.tls, and a metric for each result. */
#ifndef POSTBUS_DELIVERY_TLS_FACT_H
#define POSTBUS_DELIVERY_TLS_FACT_H

#include "services/delivery/delivery.h"
#include "services/delivery/session/settings.h"
#include "services/delivery/tls/tls_demand.h"

/* The result type (RFC 8460 §4.3) of a verification that ended with this X509_V_… code; "success"
 * for X509_V_OK. */
const char *tls_fact_of_verification(long code);
/* The result type of a session under this demand, and the reason in words; NULL when there is no
 * result (the session ended before TLS, or TLS was omitted intentionally). */
const char *tls_fact_of_session(const struct tls_demand *demand, const struct smtp_result *r, const char **reason);

/* The event's data; session NULL: the host was not even tried. ip may be NULL. NULL when the domain
 * (as written in the address) has no TLS-RPT record. */
json_t *tls_fact_data(const json_t *route, const json_t *host, const char *domain, const char *ip,
                      enum tls_policy policy, const struct smtp_result *session, const char *result,
                      const char *reason);

/* After a session: counts it, and publishes the event if the domain has a TLS-RPT record. */
void tls_fact_tell_session(const struct delivery *d, const char *id, const json_t *route, const json_t *host,
                           const char *domain, const char *ip, const struct tls_demand *demand,
                           const struct smtp_result *session);
/* For a host that was not tried because of its policy, with result and reason. */
void tls_fact_tell_refusal(const struct delivery *d, const char *id, const json_t *route, const json_t *host,
                           const char *domain, enum tls_policy policy, const char *result, const char *reason);
/* For the hosts that the verifier left out because DNSSEC does not validate their records. */
void tls_fact_tell_left_out(const struct delivery *d, const char *id, const json_t *route, const char *domain);

#endif
