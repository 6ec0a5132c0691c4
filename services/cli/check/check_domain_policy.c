#include <arpa/inet.h>

#include "libcommon/trust/dmarc/dmarc.h"
#include "libcommon/trust/tags.h"
#include "libcommon/trust/transport/mta_sts.h"
#include "services/cli/check/check_domain.h"

enum { TLSA_FIXED = 3, CAA_FIXED = 2, ADDRESSES_BYTES_MAX = 256 };

/* DMARC */

/* The DMARC result for unauthenticated mail in the domain's name, with the tree walk that a
 * receiver does. */
void check_domain_dmarc(struct domain_check *c) {
    struct dmarc_query stranger = {.from = slice_of(c->domain), .spf = SPF_NONE, .spf_domain = SLICE("")};
    struct dmarc_verdict v;
    json_t *found;
    dmarc_check(c->arena, &stranger, &c->dns, &v);
    bool has = *v.record_domain != '\0';
    struct slice text =
        domain_record(c, arena_printf(c->arena, "_dmarc.%s", has ? v.record_domain : c->domain), "v=DMARC1", &found);
    json_t *dmarc =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "result", dmarc_result_text(v.result), "verdict", "ok", "policy",
                  has ? dmarc_policy_text(v.policy) : "", "reason", v.reason ? domain_text(c, slice_of(v.reason)) : "",
                  "record_domain", v.record_domain, "found", found);
    json_object_set_new(c->out, "dmarc", dmarc);
    c->dmarc_is_enforced = has && v.policy != DMARC_POLICY_NONE;
    if (v.result == DMARC_TEMPERROR)
        c->unanswered = true;
    else if (json_array_size(found) > 1)
        domain_problem(c, "dmarc", dmarc, PROBLEM_ERROR,
                       "there are several DMARC records, so all are ignored: keep one");
    else if (!has && text.n)
        domain_problem(c, "dmarc", dmarc, PROBLEM_ERROR,
                       "the DMARC record cannot be used: it needs v=DMARC1; and then p=none, quarantine or reject");
    else if (!has)
        domain_problem(c, "dmarc", dmarc, PROBLEM_ERROR,
                       arena_printf(c->arena,
                                    "there is no DMARC record: publish one at _dmarc.%s, such as v=DMARC1; p=none; "
                                    "rua=mailto:dmarc-reports@%s",
                                    c->domain, c->domain));
    else if (v.policy == DMARC_POLICY_NONE)
        domain_problem(c, "dmarc", dmarc, PROBLEM_WARNING,
                       "the policy is none: unauthenticated mail is delivered; when reports show that your own "
                       "mail passes, change p= to quarantine or reject");
    if (has && !v.record.rua.n)
        domain_problem(c, "dmarc", dmarc, PROBLEM_WARNING,
                       "there is no rua=: you get no reports about mail in this name");
}

/* MTA-STS */

static void check_policy(struct domain_check *c, json_t *sts) {
    const char *host = arena_printf(c->arena, "mta-sts.%s", c->domain);
    struct buf addresses = {0}, body = {0};
    char text[INET6_ADDRSTRLEN], reason[256] = "its host has no address";
    struct mta_sts_policy policy;
    static const char *const modes[] = {"none", "testing", "enforce"};
    for (int six = 0; six < 2; six++) {
        const struct trust_answer *a = domain_lookup(c, host, six ? TRUST_AAAA : TRUST_A);
        for (size_t i = 0; i < a->count && addresses.n < ADDRESSES_BYTES_MAX; i++)
            buf_printf(&addresses, "%s%s", addresses.n ? "," : "",
                       inet_ntop(six ? AF_INET6 : AF_INET, a->records[i].data.p, text, sizeof text));
    }
    long status = addresses.n ? check_domain_fetch(host, buf_str(&addresses), &body, reason) : 0;
    if (status == 0) {
        domain_problem(c, "mta_sts", sts, PROBLEM_ERROR,
                       arena_printf(c->arena, "the policy at https://%s/.well-known/mta-sts.txt cannot be fetched: %s",
                                    host, reason));
    } else if (status != 200) {
        domain_problem(c, "mta_sts", sts, PROBLEM_ERROR,
                       arena_printf(c->arena, "the policy's host answers with HTTP status %ld instead of 200", status));
    } else if (mta_sts_policy_parse(c->arena, buf_slice(&body), &policy)) {
        domain_problem(c, "mta_sts", sts, PROBLEM_ERROR, "the policy is malformed (RFC 8461 §3.2)");
    } else {
        json_t *mx = json_array();
        for (size_t i = 0; i < policy.mx_count; i++)
            json_array_append_new(mx, json_string(domain_text(c, policy.mx[i])));
        json_object_set_new(sts, "mode", json_string(modes[policy.mode]));
        json_object_set_new(sts, "max_age", json_integer(policy.max_age));
        json_object_set_new(sts, "mx", mx);
        json_object_set_new(sts, "result", json_string("pass"));
        for (size_t i = 0; i < c->host_count && policy.mode != MTA_STS_NONE; i++)
            if (!mta_sts_allows(&policy, slice_of(c->hosts[i])))
                domain_problem(
                    c, "mta_sts", sts, PROBLEM_ERROR,
                    arena_printf(c->arena,
                                 "the policy does not name the MX host %s: add it, and change the id of the record",
                                 c->hosts[i]));
    }
    buf_free(&addresses);
    buf_free(&body);
}

void check_domain_mta_sts(struct domain_check *c) {
    json_t *found;
    struct slice id, text = domain_record(c, arena_printf(c->arena, "_mta-sts.%s", c->domain), "v=STSv1", &found);
    json_t *sts = json_pack("{s:s,s:s,s:o}", "result", "none", "verdict", "ok", "found", found);
    json_object_set_new(c->out, "mta_sts", sts);
    if (!text.n) {
        if (!c->takes_no_mail)
            domain_problem(c, "mta_sts", sts, PROBLEM_WARNING,
                           "there is no MTA-STS policy: an attacker on the network can prevent TLS from servers that "
                           "do not use DANE");
        return;
    }
    json_object_set_new(sts, "result", json_string("permerror"));
    if (json_array_size(found) > 1) /* RFC 8461 §3.1 */
        domain_problem(c, "mta_sts", sts, PROBLEM_ERROR,
                       "there are several MTA-STS records, so all are ignored: keep one");
    else if (mta_sts_record_parse(text, &id))
        domain_problem(c, "mta_sts", sts, PROBLEM_ERROR,
                       "the record has no usable id: v=STSv1; id= and up to 32 letters and digits");
    else
        check_policy(c, sts);
}

/* TLS-RPT (RFC 8460 §3) */

void check_domain_tls_rpt(struct domain_check *c) {
    json_t *found;
    struct slice text = domain_record(c, arena_printf(c->arena, "_smtp._tls.%s", c->domain), "v=TLSRPTv1", &found),
                 rua = tag_find(text, "rua");
    bool usable = slice_starts_nocase(rua, SLICE("mailto:")) || slice_starts_nocase(rua, SLICE("https:"));
    json_t *rpt = json_pack("{s:s,s:s,s:s,s:o}", "result",
                            !text.n                                 ? "none"
                            : usable && json_array_size(found) == 1 ? "pass"
                                                                    : "permerror",
                            "verdict", "ok", "rua", domain_text(c, rua), "found", found);
    json_object_set_new(c->out, "tls_rpt", rpt);
    if (json_array_size(found) > 1)
        domain_problem(c, "tls_rpt", rpt, PROBLEM_ERROR,
                       "there are several TLS-RPT records, so all are ignored: keep one");
    else if (text.n && !usable)
        domain_problem(c, "tls_rpt", rpt, PROBLEM_ERROR, "the record has no usable rua=: mailto: or https:");
}

/* TLSA (RFC 7672) */

void check_domain_tlsa(struct domain_check *c) {
    json_t *list = json_array();
    json_object_set_new(c->out, "tlsa", list);
    for (size_t h = 0; h < c->host_count; h++) {
        const struct trust_answer *a =
            domain_lookup(c, arena_printf(c->arena, "_25._tcp.%s", c->hosts[h]), CHECK_TYPE_TLSA);
        bool usable = false;
        for (size_t i = 0; i < a->count; i++) {
            struct slice d = a->records[i].data;
            const unsigned char *b = (const unsigned char *)d.p;
            struct buf text = {0};
            if (d.n <= TLSA_FIXED) continue;
            buf_printf(&text, "%u %u %u ", b[0], b[1], b[2]);
            for (size_t k = TLSA_FIXED; k < d.n; k++) buf_printf(&text, "%02x", b[k]);
            size_t length = d.n - TLSA_FIXED;
            bool fits = (b[2] == 1 && length == 32) || (b[2] == 2 && length == 64) || b[2] == 0;
            bool good =
                (b[0] == 2 || b[0] == 3) && b[1] <= 1 && fits; /* §3.1.3: usages 0 and 1 are unusable for SMTP */
            usable = usable || good;
            json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:s}", "host", c->hosts[h], "found", buf_str(&text),
                                                  "secure", (int)a->secure, "verdict", good ? "ok" : "warning"));
            buf_free(&text);
        }
        if (a->count && !usable)
            domain_problem(
                c, "tlsa", NULL, PROBLEM_ERROR,
                arena_printf(
                    c->arena,
                    "no TLSA record of %s is usable for SMTP: 3 1 1 with the SHA-256 of its public key (RFC 7672 §3.1)",
                    c->hosts[h]));
    }
}

/* BIMI, CAA, DNSSEC */

static void check_bimi(struct domain_check *c) {
    json_t *found;
    struct slice text = domain_record(c, arena_printf(c->arena, "default._bimi.%s", c->domain), "v=BIMI1", &found),
                 l = tag_find(text, "l");
    json_t *bimi = json_pack("{s:s,s:s,s:o}", "result", text.n ? "pass" : "none", "verdict", "ok", "found", found);
    json_object_set_new(c->out, "bimi", bimi);
    if (!text.n) return;
    if (!slice_starts(l, SLICE("https://")) && l.n)
        domain_problem(c, "bimi", bimi, PROBLEM_ERROR, "the logo (l=) must be at an https URL");
    else if (!c->dmarc_is_enforced)
        domain_problem(c, "bimi", bimi, PROBLEM_WARNING,
                       "the logo is not shown unless the DMARC policy is quarantine or reject");
}

/* RFC 8659 §3: the CAA records of the domain, or of the first name above it that has any. */
static void check_caa(struct domain_check *c) {
    json_t *found = json_array();
    for (const char *at = c->domain; at && strchr(at, '.') && !json_array_size(found); at = strchr(at, '.') + 1) {
        const struct trust_answer *a = domain_lookup(c, at, CHECK_TYPE_CAA);
        for (size_t i = 0; i < a->count; i++) {
            struct slice d = a->records[i].data;
            if (d.n < CAA_FIXED || d.n < CAA_FIXED + (size_t)(unsigned char)d.p[1]) continue;
            struct slice tag = slice_make(d.p + CAA_FIXED, (unsigned char)d.p[1]);
            json_array_append_new(found,
                                  json_sprintf("%s: %u %s \"%s\"", at, (unsigned char)d.p[0], domain_text(c, tag),
                                               domain_text(c, slice_skip(d, CAA_FIXED + tag.n))));
        }
    }
    json_object_set_new(c->out, "caa",
                        json_pack("{s:s,s:s,s:o}", "result", json_array_size(found) ? "pass" : "none", "verdict", "ok",
                                  "found", found));
}

void check_domain_others(struct domain_check *c) {
    check_bimi(c);
    check_caa(c);
    const struct trust_answer *a = domain_lookup(c, c->domain, TRUST_MX);
    json_object_set_new(c->out, "dnssec", json_string(a->secure ? "secure" : "not validated"));
}
