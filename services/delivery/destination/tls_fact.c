#include "services/delivery/destination/tls_fact.h"

#include <openssl/x509_vfy.h>

#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "libcommon/trust/transport/tls_rpt.h"

#define FACT(word, text)                                                                                               \
    {text, METRIC_COUNTER("postbus_delivery_tls_" word "_total",                                                       \
                          "Connection attempts whose TLS result (RFC 8460 4.3) was " text)}
static struct {
    const char *result;
    struct metric metric;
} facts[] = {
    FACT("success", "success"),
    FACT("starttls_not_supported", "starttls-not-supported"),
    FACT("certificate_host_mismatch", "certificate-host-mismatch"),
    FACT("certificate_not_trusted", "certificate-not-trusted"),
    FACT("certificate_expired", "certificate-expired"),
    FACT("validation_failure", "validation-failure"),
    FACT("tlsa_invalid", "tlsa-invalid"),
    FACT("dnssec_invalid", "dnssec-invalid"),
    FACT("dane_required", "dane-required"),
    FACT("sts_policy_fetch_error", "sts-policy-fetch-error"),
    FACT("sts_policy_invalid", "sts-policy-invalid"),
    FACT("sts_webpki_invalid", "sts-webpki-invalid"),
};

const char *tls_fact_of_verification(long code) {
    switch (code) {
    case X509_V_OK: return "success";
    case X509_V_ERR_HOSTNAME_MISMATCH: return "certificate-host-mismatch";
    case X509_V_ERR_CERT_HAS_EXPIRED: return "certificate-expired";
    case X509_V_ERR_DANE_NO_MATCH: /* no TLSA record matches it */
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_REJECTED:
    case X509_V_ERR_CERT_REVOKED:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION: return "certificate-not-trusted";
    default: return "validation-failure";
    }
}

const char *tls_fact_of_session(const struct tls_demand *demand, const struct smtp_result *r, const char **reason) {
    *reason = "";
    if (demand->level == TLS_NEVER || demand->waived) return NULL;
    switch (r->tls_reached) {
    case SMTP_TLS_UNTRIED: return NULL;
    case SMTP_TLS_NOT_OFFERED:
        *reason = *r->reason ? r->reason : "the server does not offer STARTTLS, or refuses it";
        return "starttls-not-supported";
    case SMTP_TLS_BROKEN:
        *reason = r->reason;
        return r->verify_code == X509_V_OK ? "validation-failure" : tls_fact_of_verification(r->verify_code);
    case SMTP_TLS_STANDS: break;
    }
    if (demand->policy == TLS_POLICY_TLSA && demand->level != TLS_DANE) {
        *reason = "none of the TLSA records can be used";
        return "tlsa-invalid";
    }
    if (demand->policy != TLS_POLICY_STS) return "success";
    if (demand->unlisted) {
        *reason = "the host is not among those that the policy names";
        return "validation-failure";
    }
    if (r->verify_code != X509_V_OK)
        *reason = X509_verify_cert_error_string(r->verify_code); /* policy mode testing: it was delivered
                                                                    nevertheless */
    return tls_fact_of_verification(r->verify_code);
}

/* RFC 8460 §4.4: TLSA records as RFC 6698 §2.2 writes them. */
static json_t *tlsa_policy(const json_t *host) {
    json_t *lines = json_array();
    const json_t *each;
    size_t i;
    json_array_foreach(json_object_get(host, "tlsa"), i, each) json_array_append_new(
        lines, json_sprintf("%d %d %d %s", (int)json_integer_value(json_object_get(each, "usage")),
                            (int)json_integer_value(json_object_get(each, "selector")),
                            (int)json_integer_value(json_object_get(each, "matching")),
                            member_text_or_null(each, "data_hex")));
    return lines;
}

/* The lines of an MTA-STS policy, reconstructed from its fields. */
static json_t *sts_policy(const json_t *policy) {
    json_t *lines = json_array();
    const json_t *each;
    size_t i;
    if (!json_is_object(policy)) return lines; /* it could not be fetched */
    json_array_append_new(lines, json_string("version: STSv1"));
    json_array_append_new(lines, json_sprintf("mode: %s", member_text_or_null(policy, "mode")));
    json_array_foreach(json_object_get(policy, "mx"), i, each)
        json_array_append_new(lines, json_sprintf("mx: %s", json_string_value(each)));
    json_array_append_new(
        lines, json_sprintf("max_age: %lld", (long long)json_integer_value(json_object_get(policy, "max_age"))));
    return lines;
}

static json_t *policy_data(const json_t *route, const json_t *host, enum tls_policy policy, const char *domain) {
    const json_t *sts = json_object_get(route, "mta_sts"), *mx = json_object_get(sts, "mx");
    json_t *hosts = policy == TLS_POLICY_STS && mx ? json_copy((json_t *)(uintptr_t)mx) : json_array();
    if (policy == TLS_POLICY_TLSA) json_array_append(hosts, json_object_get(host, "name"));
    json_t *lines = policy == TLS_POLICY_TLSA  ? tlsa_policy(host)
                    : policy == TLS_POLICY_STS ? sts_policy(sts)
                                               : json_array();
    const char *type = policy == TLS_POLICY_TLSA ? "tlsa" : policy == TLS_POLICY_STS ? "sts" : "no-policy-found";
    return json_pack("{s:s,s:o,s:s,s:o}", "type", type, "string", lines, "domain", domain, "mx_host", hosts);
}

json_t *tls_fact_data(const json_t *route, const json_t *host, const char *domain, const char *ip,
                      enum tls_policy policy, const struct smtp_result *session, const char *result,
                      const char *reason) {
    char ascii[DOMAIN_BYTES];
    struct slice rua;
    if (tls_rpt_record_parse(slice_of(member_text_or_null(route, "tls_rpt")), &rua) ||
        domain_normalise(slice_of(domain), ascii))
        return NULL;
    const char *sending = session && session->local_ip && *session->local_ip ? session->local_ip : NULL;
    const char *helo = session && session->peer_name && *session->peer_name ? session->peer_name : NULL;
    return json_pack("{s:s,s:s%,s:o,s:s,s:s,s:s*,s:s*,s:s*,s:s}", "domain", ascii, "rua", rua.p, rua.n, "policy",
                     policy_data(route, host, policy, ascii), "result", result, "mx", member_text_or_null(host, "name"),
                     "ip", ip, "sending_ip", sending, "helo", helo, "reason", reason);
}

static void tell(const struct delivery *d, const char *id, const char *result, json_t *data) {
    for (size_t i = 0; result && i < sizeof facts / sizeof *facts; i++)
        if (strcmp(facts[i].result, result) == 0) metric_add(&facts[i].metric, 1);
    if (data) bus_publish(d->worker->bus, "mail.tls", slice_of(id), data);
}

void tls_fact_tell_session(const struct delivery *d, const char *id, const json_t *route, const json_t *host,
                           const char *domain, const char *ip, const struct tls_demand *demand,
                           const struct smtp_result *session) {
    const char *reason, *result = tls_fact_of_session(demand, session, &reason);
    const json_t *failure = json_object_get(route, "mta_sts_failure");
    enum tls_policy policy = demand->policy;
    if (!result) return;
    if (policy == TLS_POLICY_NONE && json_is_null(json_object_get(route, "mta_sts")) && failure) {
        /* the domain announces a policy that cannot be fetched: this must be reported, independent
         * of the session (RFC 8460 §4.3.2.2) */
        policy = TLS_POLICY_STS;
        result = member_text_or_null(failure, "result");
        reason = member_text_or_null(failure, "reason");
    }
    tell(d, id, result, tls_fact_data(route, host, domain, ip, policy, session, result, reason));
}

void tls_fact_tell_refusal(const struct delivery *d, const char *id, const json_t *route, const json_t *host,
                           const char *domain, enum tls_policy policy, const char *result, const char *reason) {
    tell(d, id, result, tls_fact_data(route, host, domain, NULL, policy, NULL, result, reason));
}

void tls_fact_tell_left_out(const struct delivery *d, const char *id, const json_t *route, const char *domain) {
    const json_t *each;
    size_t i;
    json_array_foreach(json_object_get(route, "left_out"), i, each)
        tls_fact_tell_refusal(d, id, route, each, domain, TLS_POLICY_TLSA, member_text_or_null(each, "result"),
                              member_text_or_null(each, "reason"));
}
