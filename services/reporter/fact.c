#include "services/reporter/fact.h"
#include "libcommon/base/member.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "libcommon/report/tls_report.h"

static bool is(const json_t *object, const char *name, const char *word) {
    return strcmp(member_text(object, name), word) == 0;
}

static void put(json_t *to, const char *name, const char *value) {
    if (*value) json_object_set_new(to, name, json_string(value));
}

void fact_free(struct fact *f) {
    json_decref(f->policy);
    json_decref(f->row);
    f->policy = f->row = NULL;
}

/* DMARC */

static const char *domain_of(const char *address) {
    const char *at = strrchr(address, '@');
    return at ? at + 1 : "";
}

/* A domain in the normal form in which rows are compared; text that is not a domain name is
 * unchanged. */
static json_t *domain_value(const char *domain) {
    char normal[DOMAIN_BYTES];
    return json_string(domain_normalise(slice_of(domain), normal) == 0 ? normal : domain);
}

/* The domain of the recipients, if they all have the same. */
static const char *one_domain(const json_t *rcpts) {
    const char *found = "";
    size_t i;
    json_t *each;
    json_array_foreach(rcpts, i, each) {
        const char *domain = domain_of(member_text(each, "address"));
        if (i && strcasecmp(domain, found) != 0) return "";
        found = domain;
    }
    return found;
}

/* The disposition of the message in the words of RFC 9990 §3.1.1: "pass" for a message that passed
 * a policy other than none. */
static const char *disposition(const json_t *dmarc, const json_t *verdict) {
    const char *done = member_text(dmarc, "disposition");
    if (!*done)
        done = is(verdict, "disposition", "reject")       ? "reject"
               : is(verdict, "disposition", "quarantine") ? "quarantine"
                                                          : "none";
    if (is(dmarc, "result", "pass") && strcmp(done, "none") == 0 && !is(dmarc, "policy", "none")) return "pass";
    return done;
}

static json_t *override_reasons(const json_t *dmarc) {
    /* the words of RFC 9990 §3.1.6; others, such as those of RFC 7489, are reported as other */
    static const char *const known[] = {"local_policy", "mailing_list", "other", "policy_test_mode",
                                        "trusted_forwarder"};
    json_t *list = json_array(), *each;
    size_t i;
    json_array_foreach(json_object_get(dmarc, "overrides"), i, each) {
        const char *type = "other";
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (is(each, "type", known[k])) type = known[k];
        json_t *reason = json_pack("{s:s}", "type", type);
        put(reason, "comment", member_text(each, "comment"));
        json_array_append_new(list, reason);
        if (i == FACT_SIGNATURES_MAX) break;
    }
    return list;
}

/* The signatures, those that passed first (RFC 9990 §3.1.3): two passes, the second one for the
 * others. */
static json_t *signatures(const json_t *dkim) {
    json_t *list = json_array(), *each;
    size_t i;
    for (int walk = 0; walk < 2; walk++) json_array_foreach(dkim, i, each) {
            const char *result = member_text(each, "result");
            if (json_array_size(list) == FACT_SIGNATURES_MAX || !*member_text(each, "domain") ||
                (strcmp(result, "pass") == 0) != (walk == 0))
                continue;
            json_array_append_new(list, json_pack("{s:o,s:s,s:s}", "domain", domain_value(member_text(each, "domain")),
                                                  "selector", member_text(each, "selector"), "result", result));
        }
    return list;
}

/* The one SPF result: of the MAIL FROM identity, which is postmaster at the HELO name where the
 * reverse-path is empty (RFC 7208 §2.4); RFC 9990 has no other. */
static json_t *spf_result(const json_t *spf, const char *envelope_domain, const char *helo) {
    const char *domain = *member_text(spf, "domain") ? member_text(spf, "domain")
                         : *envelope_domain          ? envelope_domain
                                                     : helo,
               *result = member_text(spf, "result");
    if (!*result || !*domain) return json_array();
    return json_pack("[{s:o,s:s,s:s}]", "domain", domain_value(domain), "scope", "mfrom", "result", result);
}

static bool has_address(const char *ip) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, ip, bytes) == 1 || inet_pton(AF_INET6, ip, bytes) == 1;
}

/* The tags of the published record, and the domain at which it was found. */
static json_t *policy_of(const json_t *published, const char *domain) {
    static const char *const tags[] = {"p", "sp", "np", "adkim", "aspf", "fo", "rua", "ruf", "discovery_method"};
    json_t *policy = json_object(), *kept = json_object();
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) put(kept, tags[i], member_text(published, tags[i]));
    const json_t *test = json_object_get(published, "t");
    if (test && !json_is_null(test))
        put(kept, "testing", json_is_true(test) || strcasecmp(member_text(published, "t"), "y") == 0 ? "y" : "n");
    json_object_set_new(policy, "published", kept);
    put(policy, "domain", domain);
    return policy;
}

/* Whether all recipients of a message are addresses for reports. Such a message is (meant to be) a
 * report and is not reported; otherwise two sites would send each other reports about their reports
 * without end. */
static bool is_a_report(const json_t *data) {
    size_t i, reports = 0;
    json_t *each;
    json_array_foreach(json_object_get(data, "rcpts"), i, each) reports += is(each, "user", "reporter");
    return reports && reports == json_array_size(json_object_get(data, "rcpts"));
}

/* Whether the message came from another server, was accepted or refused permanently, and is not a
 * report. */
static bool is_reportable(const json_t *data, bool refused) {
    const char *protocol = member_text(json_object_get(data, "client"), "protocol");
    bool came_in = refused ? !*protocol || strcmp(protocol, "smtp") == 0 : is(data, "origin", "mx");
    bool comes_again = refused && json_integer_value(json_object_get(data, "code")) < 500;
    return came_in && !comes_again && !is_a_report(data);
}

bool fact_of_mail(const json_t *data, bool refused, struct fact *out) {
    const json_t *verdict = json_object_get(data, "verdict"), *dmarc = json_object_get(verdict, "dmarc"),
                 *published = json_object_get(dmarc, "published"), *client = json_object_get(data, "client");
    const char *result = member_text(dmarc, "result"), *from = member_text(data, "from"),
               *ip = member_text(client, "ip");
    memset(out, 0, sizeof *out);
    if (!is_reportable(data, refused)) return false;
    if (!json_is_object(published) || !*member_text(published, "rua") || !has_address(ip)) return false;
    if (strcmp(result, "pass") != 0 && strcmp(result, "fail") != 0) return false;
    if (domain_normalise(slice_of(member_text(dmarc, "record_domain")), out->domain) != 0) return false;
    const char *envelope_domain = domain_of(from);
    out->policy = policy_of(published, out->domain);
    out->row =
        json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "source_ip", ip, "disposition", disposition(dmarc, verdict),
                  "dkim", json_is_true(json_object_get(dmarc, "dkim_aligned")) ? "pass" : "fail", "spf",
                  json_is_true(json_object_get(dmarc, "spf_aligned")) ? "pass" : "fail", "header_from",
                  domain_value(member_text(dmarc, "from")), "envelope_from", domain_value(envelope_domain), "auth_dkim",
                  signatures(json_object_get(verdict, "dkim")), "auth_spf",
                  spf_result(json_object_get(verdict, "spf"), envelope_domain, member_text(client, "helo")));
    const char *to = one_domain(json_object_get(data, "rcpts"));
    if (*to) json_object_set_new(out->row, "envelope_to", domain_value(to));
    json_t *reasons = override_reasons(dmarc);
    if (json_array_size(reasons)) json_object_set(out->row, "reasons", reasons);
    json_decref(reasons);
    return true;
}

bool fact_wants_failure_report(const json_t *data, bool refused) {
    const json_t *verdict = json_object_get(data, "verdict"), *dmarc = json_object_get(verdict, "dmarc"),
                 *published = json_object_get(dmarc, "published");
    bool dkim_aligned = json_is_true(json_object_get(dmarc, "dkim_aligned")),
         spf_aligned = json_is_true(json_object_get(dmarc, "spf_aligned"));
    bool dkim_failed = false, spf_failed = is(json_object_get(verdict, "spf"), "result", "fail") ||
                                           is(json_object_get(verdict, "spf"), "result", "softfail");
    size_t i;
    json_t *each;
    if (!is_reportable(data, refused) || !*member_text(data, "from")) return false;
    if (!*member_text(published, "ruf") || (!is(dmarc, "result", "pass") && !is(dmarc, "result", "fail"))) return false;
    json_array_foreach(json_object_get(verdict, "dkim"), i, each) dkim_failed =
        dkim_failed || is(each, "result", "fail");
    struct slice options = slice_of(*member_text(published, "fo") ? member_text(published, "fo") : "0"), option;
    for (bool more = true; more;) {
        more = slice_cut(&options, ':', &option);
        if (!more) option = options;
        option = slice_trim(option);
        if ((slice_is(option, "0") && is(dmarc, "result", "fail")) ||
            (slice_is(option, "1") && (!dkim_aligned || !spf_aligned)) ||
            (slice_is_nocase(option, "d") && dkim_failed) || (slice_is_nocase(option, "s") && spf_failed))
            return true;
    }
    return false;
}

/* TLS */

bool fact_of_tls(const json_t *data, struct fact *out) {
    const json_t *from = json_object_get(data, "policy"), *string = json_object_get(from, "string"),
                 *hosts = json_object_get(from, "mx_host");
    const char *result = member_text(data, "result"),
               *domain = *member_text(from, "domain") ? member_text(from, "domain") : member_text(data, "domain");
    memset(out, 0, sizeof *out);
    if (!*member_text(data, "rua") || domain_normalise(slice_of(member_text(data, "domain")), out->domain) != 0)
        return false;
    if (strcmp(result, "success") != 0 && !tls_report_is_result(result)) return false;
    json_t *policy =
        json_pack("{s:s,s:s}", "policy-type",
                  *member_text(from, "type") ? member_text(from, "type") : "no-policy-found", "policy-domain", domain);
    if (json_array_size(string)) json_object_set_new(policy, "policy-string", json_deep_copy(string));
    if (json_array_size(hosts)) json_object_set_new(policy, "mx-host", json_deep_copy(hosts));
    out->row = json_pack("{s:o}", "policy", policy);
    if (strcmp(result, "success") != 0) {
        json_t *failure = json_pack("{s:s}", "result-type", result);
        put(failure, "sending-mta-ip", member_text(data, "sending_ip"));
        put(failure, "receiving-mx-hostname", member_text(data, "mx"));
        put(failure, "receiving-mx-helo", member_text(data, "helo"));
        put(failure, "receiving-ip", member_text(data, "ip"));
        put(failure, "failure-reason-code", member_text(data, "reason"));
        json_object_set_new(out->row, "failure", failure);
    }
    out->policy = json_pack("{s:s}", "rua", member_text(data, "rua"));
    return true;
}
