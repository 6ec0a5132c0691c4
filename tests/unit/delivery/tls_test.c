/* What TLS must be like on the way to a host (RFC 7672, 8461, 8689), and what a session tells of it
 * for reports (RFC 8460 §4.3): as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/x509_vfy.h>

#include "services/delivery/destination/tls_fact.h"

#define SHA "0000000000000000000000000000000000000000000000000000000000000000"
#define EE "{\"usage\":3,\"selector\":1,\"matching\":1,\"data_hex\":\"" SHA "\"}"
#define PKIX_EE "{\"usage\":1,\"selector\":1,\"matching\":1,\"data_hex\":\"" SHA "\"}"
#define STS(mode, mx) "{\"mode\":\"" mode "\",\"mx\":[\"" mx "\"],\"max_age\":1}"

static void what_is_asked_for(void **state) {
    static const struct {
        const char *dnssec, *sts, *tlsa;
        bool required, waived;
        enum tls_level level;
        enum tls_policy policy;
        bool refused, unlisted;
    } cases[] = {
        {"insecure", "null", "", false, false, TLS_MAY, TLS_POLICY_NONE, false, false},
        {"secure", "null", "", false, false, TLS_MAY, TLS_POLICY_NONE, false, false},
        {"secure", "null", EE, false, false, TLS_DANE, TLS_POLICY_TLSA, false, false},
        {"secure", "null", PKIX_EE, false, false, TLS_ENCRYPT, TLS_POLICY_TLSA, false, false},
        {"secure", "null", PKIX_EE "," EE, false, false, TLS_DANE, TLS_POLICY_TLSA, false, false},
        {"insecure", STS("enforce", "mx.a.test"), "", false, false, TLS_PKIX, TLS_POLICY_STS, false, false},
        {"insecure", STS("enforce", "*.a.test"), "", false, false, TLS_PKIX, TLS_POLICY_STS, false, false},
        {"insecure", STS("enforce", "*.b.test"), "", false, false, TLS_PKIX, TLS_POLICY_STS, true, true},
        {"insecure", STS("testing", "mx.a.test"), "", false, false, TLS_MAY, TLS_POLICY_STS, false, false},
        {"insecure", STS("testing", "mx.b.test"), "", false, false, TLS_MAY, TLS_POLICY_STS, false, true},
        {"insecure", STS("none", "mx.b.test"), "", false, false, TLS_MAY, TLS_POLICY_NONE, false, false},
        {"secure", STS("enforce", "mx.b.test"), EE, false, false, TLS_DANE, TLS_POLICY_TLSA, false,
         false}, /* RFC 8461 §2: DANE first */
        {"secure", STS("enforce", "mx.a.test"), PKIX_EE, false, false, TLS_PKIX, TLS_POLICY_STS, false,
         false}, /* DANE asks for TLS, MTA-STS for more */
        {"secure", STS("testing", "mx.a.test"), PKIX_EE, false, false, TLS_ENCRYPT, TLS_POLICY_TLSA, false, false},
        {"insecure", "null", "", true, false, TLS_PKIX, TLS_POLICY_NONE, true,
         false}, /* RFC 8689 §4.2.1: nothing vouches for the name */
        {"bogus", "null", "", true, false, TLS_PKIX, TLS_POLICY_NONE, true, false},
        {"secure", "null", "", true, false, TLS_PKIX, TLS_POLICY_NONE, false, false},
        {"secure", "null", EE, true, false, TLS_DANE, TLS_POLICY_TLSA, false, false},
        {"secure", "null", PKIX_EE, true, false, TLS_PKIX, TLS_POLICY_TLSA, false, false},
        {"insecure", STS("enforce", "mx.a.test"), "", true, false, TLS_PKIX, TLS_POLICY_STS, false, false},
        {"insecure", STS("testing", "mx.a.test"), "", true, false, TLS_PKIX, TLS_POLICY_STS, false, false},
        {"insecure", STS("testing", "mx.b.test"), "", true, false, TLS_PKIX, TLS_POLICY_STS, true, true},
        {"secure", "null", EE, false, true, TLS_MAY, TLS_POLICY_NONE, false, false}, /* RFC 8689 §4.2.2 */
        {"insecure", STS("enforce", "mx.b.test"), "", false, true, TLS_MAY, TLS_POLICY_NONE, false, false},
        {"secure", "null", EE, true, true, TLS_DANE, TLS_POLICY_TLSA, false,
         false}, /* §4.1: beside REQUIRETLS it says nothing */
    };
    struct arena *arena = arena_create();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *route = json_loads(arena_printf(arena,
                                                "{\"dnssec\":\"%s\",\"mta_sts\":%s,\"hosts\":[{\"name\":\"mx.a.test\","
                                                "\"tlsa\":[%s],\"tlsa_names\":[\"end.a.test\",\"a.test\"]}]}",
                                                cases[i].dnssec, cases[i].sts, cases[i].tlsa),
                                   0, NULL);
        struct tls_demand d;
        tls_demand_make(arena, route, json_array_get(json_object_get(route, "hosts"), 0),
                        &(struct tls_wish){.required = cases[i].required, .waived = cases[i].waived}, &d);
        if (d.level != cases[i].level || d.policy != cases[i].policy || (d.refusal != NULL) != cases[i].refused ||
            d.unlisted != cases[i].unlisted)
            fail_msg("case %zu: level %d, policy %d, refusal %s", i, d.level, d.policy, d.refusal ? d.refusal : "none");
        assert_string_equal(d.names[0],
                            d.level == TLS_DANE ? "end.a.test" : "mx.a.test"); /* what is sent as server name, and held
                                                                                  against the certificate */
        assert_int_equal(d.name_count, d.level == TLS_DANE ? 2 : 1);
        json_decref(route);
    }
    arena_destroy(arena);
}

static void a_site_may_send_to_a_domain_by_dane_only(void **state) {
    json_t *with = json_loads("{\"dnssec\":\"secure\",\"hosts\":[{\"name\":\"mx.a.test\",\"tlsa\":[" EE
                              "],\"tlsa_names\":[\"mx.a.test\"]}]}",
                              0, NULL);
    json_t *without =
        json_loads("{\"dnssec\":\"secure\",\"mta_sts\":" STS(
                       "enforce", "mx.a.test") ",\"hosts\":[{\"name\":\"mx.a.test\",\"tlsa\":[" PKIX_EE "]}]}",
                   0, NULL);
    struct arena *arena = arena_create();
    struct tls_demand d;
    (void)state;
    tls_demand_make(arena, with, json_array_get(json_object_get(with, "hosts"), 0),
                    &(struct tls_wish){.dane = true, .waived = true}, &d);
    assert_true(d.level == TLS_DANE && !d.refusal && !d.waived);
    tls_demand_make(arena, without, json_array_get(json_object_get(without, "hosts"), 0),
                    &(struct tls_wish){.dane = true}, &d);
    assert_true(d.refusal && strcmp(d.refusal_result, "dane-required") == 0);
    assert_true(tls_list_names(SLICE("b.test, B\303\274cher.test"), SLICE("xn--bcher-kva.TEST")));
    assert_false(tls_list_names(SLICE("b.test"), SLICE("a.b.test")));
    assert_false(tls_list_names(SLICE(""), SLICE("b.test")));
    arena_destroy(arena);
    json_decref(with);
    json_decref(without);
}

static void who_waives_tls(void **state) {
    static const struct {
        const char *header;
        bool waives;
    } cases[] = {
        {"TLS-Required: No\r\n", true},    {"tls-required:\r\n no \r\n", true},
        {"TLS-Required: Yes\r\n", false},  {"TLS-Required: No\r\nTLS-Required: No\r\n", false},
        {"X-TLS-Required: No\r\n", false}, {"TLS-Required: No, really\r\n", false},
        {"From: a@b.test\r\n", false},     {"\r\nTLS-Required: No\r\n", false}, /* in the body */
    };
    struct arena *arena = arena_create();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (tls_message_waives(slice_of(arena_printf(arena, "%s\r\nbody\r\n", cases[i].header))) != cases[i].waives)
            fail_msg("%s", cases[i].header);
    arena_destroy(arena);
}

static void what_a_session_tells(void **state) {
    static const struct {
        enum tls_level level;
        enum tls_policy policy;
        bool unlisted, waived;
        enum smtp_tls_reached reached;
        long code;
        const char *result; /* NULL: nothing */
    } cases[] = {
        {TLS_MAY, TLS_POLICY_NONE, false, false, SMTP_TLS_STANDS, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
         "success"}, /* nobody asked for more */
        {TLS_MAY, TLS_POLICY_NONE, false, false, SMTP_TLS_NOT_OFFERED, 0, "starttls-not-supported"},
        {TLS_MAY, TLS_POLICY_NONE, false, false, SMTP_TLS_BROKEN, 0, "validation-failure"},
        {TLS_MAY, TLS_POLICY_NONE, false, false, SMTP_TLS_UNTRIED, 0, NULL},
        {TLS_NEVER, TLS_POLICY_STS, false, false, SMTP_TLS_NOT_OFFERED, 0, NULL}, /* the attempt before told it */
        {TLS_MAY, TLS_POLICY_NONE, false, true, SMTP_TLS_STANDS, 0, NULL},
        {TLS_PKIX, TLS_POLICY_STS, false, false, SMTP_TLS_STANDS, 0, "success"},
        {TLS_PKIX, TLS_POLICY_STS, false, false, SMTP_TLS_BROKEN, X509_V_ERR_HOSTNAME_MISMATCH,
         "certificate-host-mismatch"},
        {TLS_PKIX, TLS_POLICY_STS, false, false, SMTP_TLS_BROKEN, X509_V_ERR_CERT_HAS_EXPIRED, "certificate-expired"},
        {TLS_PKIX, TLS_POLICY_STS, false, false, SMTP_TLS_BROKEN, X509_V_ERR_CERT_NOT_YET_VALID, "validation-failure"},
        {TLS_PKIX, TLS_POLICY_STS, false, false, SMTP_TLS_BROKEN, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
         "certificate-not-trusted"},
        {TLS_MAY, TLS_POLICY_STS, false, false, SMTP_TLS_STANDS, X509_V_ERR_HOSTNAME_MISMATCH,
         "certificate-host-mismatch"}, /* it only tests */
        {TLS_MAY, TLS_POLICY_STS, true, false, SMTP_TLS_STANDS, 0, "validation-failure"},
        {TLS_DANE, TLS_POLICY_TLSA, false, false, SMTP_TLS_STANDS, 0, "success"},
        {TLS_DANE, TLS_POLICY_TLSA, false, false, SMTP_TLS_BROKEN, X509_V_ERR_DANE_NO_MATCH, "certificate-not-trusted"},
        {TLS_ENCRYPT, TLS_POLICY_TLSA, false, false, SMTP_TLS_STANDS, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
         "tlsa-invalid"},
        {TLS_ENCRYPT, TLS_POLICY_TLSA, false, false, SMTP_TLS_NOT_OFFERED, 0, "starttls-not-supported"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct tls_demand demand = {.level = cases[i].level,
                                          .policy = cases[i].policy,
                                          .unlisted = cases[i].unlisted,
                                          .waived = cases[i].waived};
        const struct smtp_result session = {
            .reason = "", .tls_reached = cases[i].reached, .verify_code = cases[i].code};
        const char *reason, *result = tls_fact_of_session(&demand, &session, &reason);
        if ((result == NULL) != (cases[i].result == NULL)) fail_msg("case %zu: %s", i, result ? result : "nothing");
        if (result) assert_string_equal(result, cases[i].result);
    }
}

static void the_event_has_the_policy_as_it_was_published(void **state) {
    json_t *route = json_loads("{\"tls_rpt\":\"v=TLSRPTv1; rua=mailto:t@a.test\",\"mta_sts\":" STS(
                                   "testing", "*.a.test") ",\"hosts\":[{\"name\":\"mx.a.test\",\"tlsa\":[" EE "]}]}",
                               0, NULL);
    const json_t *host = json_array_get(json_object_get(route, "hosts"), 0);
    const struct smtp_result session = {.local_ip = "192.0.2.1", .peer_name = ""};
    (void)state;
    json_t *data =
        tls_fact_data(route, host, "B\303\274cher.test", "192.0.2.2", TLS_POLICY_STS, &session, "success", "");
    json_t *want = json_loads("{\"domain\":\"xn--bcher-kva.test\",\"rua\":\"mailto:t@a.test\",\"policy\":{\"type\":"
                              "\"sts\",\"string\":[\"version: "
                              "STSv1\",\"mode: testing\",\"mx: *.a.test\",\"max_age: "
                              "1\"],\"domain\":\"xn--bcher-kva.test\",\"mx_host\":[\"*.a.test\"]},\"result\":"
                              "\"success\",\"mx\":\"mx.a.test\",\"ip\":\"192.0.2."
                              "2\",\"sending_ip\":\"192.0.2.1\","
                              "\"reason\":\"\"}",
                              0, NULL);
    assert_true(json_equal(data, want));
    json_decref(data);
    json_decref(want);
    data = tls_fact_data(route, host, "a.test", NULL, TLS_POLICY_TLSA, NULL, "dnssec-invalid", "forged");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(json_object_get(data, "policy"), "string"), 0)), "3 1 1 " SHA);
    assert_null(json_object_get(data, "ip"));
    json_decref(data);
    json_object_set_new(route, "tls_rpt", json_null());
    assert_null(tls_fact_data(route, host, "a.test", NULL, TLS_POLICY_NONE, &session, "success",
                              "")); /* nobody wants to hear of it */
    json_decref(route);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_for),
        cmocka_unit_test(a_site_may_send_to_a_domain_by_dane_only),
        cmocka_unit_test(who_waives_tls),
        cmocka_unit_test(what_a_session_tells),
        cmocka_unit_test(the_event_has_the_policy_as_it_was_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
