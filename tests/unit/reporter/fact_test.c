/* What an event tells a report. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/reporter/fact.h"
#include "services/reporter/reporter.h"

struct metric reporter_counted, reporter_late, reporter_sent, reporter_refused, reporter_kept, reporter_unreadable;

static const char whole[] = "{\"from\":\"x@bounce.news.example\",\"origin\":\"mx\",\"rcpts\":[{\"address\":\"a@here."
                            "example\"},{\"address\":\"b@HERE.example\"}],"
                            "\"client\":{\"ip\":\"192.0.2.1\",\"helo\":\"h.example\",\"protocol\":\"smtp\"},\"code\":"
                            "550,\"verdict\":{\"disposition\":\"accept\",\"spf\":{\"result\":"
                            "\"pass\","
                            "\"domain\":\"bounce.news.example\",\"scope\":\"mfrom\"},\"dkim\":[{\"result\":\"fail\","
                            "\"domain\":\"a.example\",\"selector\":\"1\"},{\"result\":\"pass\","
                            "\"domain\":\"news.example\",\"selector\":\"2\"}],\"dmarc\":{\"result\":\"pass\","
                            "\"policy\":\"reject\",\"disposition\":\"none\",\"from\":\"news.example\","
                            "\"record_domain\":\"News.Example\",\"organizational_domain\":\"news.example\",\"spf_"
                            "aligned\":false,\"dkim_aligned\":true,\"published\":{\"p\":\"reject\","
                            "\"sp\":null,\"fo\":\"1\",\"t\":true,\"rua\":\"mailto:r@news.example\",\"ruf\":\"mailto:f@"
                            "news.example\"},\"overrides\":[{\"type\":\"sampled_out\","
                            "\"comment\":\"c\"},"
                            "{\"type\":\"local_policy\",\"comment\":\"\"}]}}}";

static json_t *event(void) {
    json_t *data = json_loads(whole, 0, NULL);
    assert_non_null(data);
    return data;
}

static const char *text(const json_t *object, const char *name) {
    const char *s = json_string_value(json_object_get(object, name));
    return s ? s : "(none)";
}

static void a_message_becomes_a_row(void **state) {
    (void)state;
    struct fact f;
    json_t *data = event();
    assert_true(fact_of_mail(data, false, &f));
    assert_string_equal(f.domain, "news.example");
    assert_string_equal(text(f.row, "disposition"), "pass"); /* passed a policy with teeth */
    assert_string_equal(text(f.row, "dkim"), "pass");
    assert_string_equal(text(f.row, "spf"), "fail"); /* it passed, but not aligned */
    assert_string_equal(text(f.row, "envelope_from"), "bounce.news.example");
    assert_string_equal(text(f.row, "envelope_to"), "here.example");
    assert_string_equal(text(json_array_get(json_object_get(f.row, "auth_dkim"), 0), "selector"),
                        "2"); /* what passed comes first */
    assert_string_equal(text(json_array_get(json_object_get(f.row, "reasons"), 0), "type"),
                        "other"); /* RFC 9990 has no sampled_out */
    assert_string_equal(text(json_array_get(json_object_get(f.row, "reasons"), 1), "type"), "local_policy");
    assert_string_equal(text(json_object_get(f.policy, "published"), "testing"), "y");
    fact_free(&f);
    json_decref(data);
}

static void what_nobody_asked_to_hear_is_no_fact(void **state) {
    (void)state;
    static const struct {
        const char *what, *path[3], *value;
        bool refused;
    } cases[] = {
        {"it was submitted here", {"origin"}, "\"submission\"", false},
        {"it is a report", {"origin"}, "\"report\"", false},
        {"there is no record", {"verdict", "dmarc", "published"}, "null", false},
        {"the record has no rua", {"verdict", "dmarc", "published"}, "{\"p\":\"none\"}", false},
        {"DNS did not answer", {"verdict", "dmarc", "result"}, "\"temperror\"", false},
        {"there is no verdict", {"verdict"}, "null", false},
        {"the client has no address", {"client", "ip"}, "\"unknown\"", false},
        {"the record's domain is none", {"verdict", "dmarc", "record_domain"}, "\"a..b\"", false},
        {"it was put off and comes again", {"code"}, "451", true},
        {"it is a report of another site",
         {"rcpts"},
         "[{\"address\":\"dmarc-reports@here.example\",\"user\":\"reporter\"}]",
         false},
        {"a submission was refused", {"client", "protocol"}, "\"submission\"", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *data = event(), *at = data;
        struct fact f;
        size_t k = 0;
        for (; k < 2 && cases[i].path[k + 1]; k++) at = json_object_get(at, cases[i].path[k]);
        json_object_set_new(at, cases[i].path[k], json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        if (fact_of_mail(data, cases[i].refused, &f)) fail_msg("%s: it is counted", cases[i].what);
        fact_free(&f);
        json_decref(data);
    }
}

static void failure_reports_are_wanted_as_fo_says(void **state) { /* RFC 9989 §4.7 */
    (void)state;
    static const struct {
        const char *fo, *result, *dkim, *spf;
        bool dkim_aligned, spf_aligned, wanted;
    } cases[] = {
        {NULL, "fail", "fail", "fail", false, false, true}, {NULL, "pass", "fail", "pass", false, true, false},
        {"0", "pass", "pass", "fail", true, false, false},  {"1", "pass", "pass", "fail", true, false, true},
        {"1", "pass", "pass", "pass", true, true, false},   {"d", "pass", "fail", "pass", false, true, true},
        {"d", "fail", "none", "fail", false, false, false}, {"s", "pass", "pass", "softfail", true, false, true},
        {"s:d", "pass", "fail", "pass", false, true, true}, {"d", "temperror", "fail", "fail", false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *data = event(), *verdict = json_object_get(data, "verdict"), *dmarc = json_object_get(verdict, "dmarc"),
               *published = json_object_get(dmarc, "published");
        json_object_set_new(published, "fo", cases[i].fo ? json_string(cases[i].fo) : json_null());
        json_object_set_new(dmarc, "result", json_string(cases[i].result));
        json_object_set_new(dmarc, "dkim_aligned", json_boolean(cases[i].dkim_aligned));
        json_object_set_new(dmarc, "spf_aligned", json_boolean(cases[i].spf_aligned));
        json_object_set_new(verdict, "dkim", json_pack("[{s:s}]", "result", cases[i].dkim));
        json_object_set_new(verdict, "spf", json_pack("{s:s}", "result", cases[i].spf));
        if (fact_wants_failure_report(data, false) != cases[i].wanted)
            fail_msg("case %zu: fo=%s", i, cases[i].fo ? cases[i].fo : "");
        json_object_set_new(published, "ruf", json_null());
        assert_false(fact_wants_failure_report(data, false));
        json_decref(data);
    }
}

/* fo asks for one of the message as it stands; these facts of how it came are against it. */
static void no_failure_report_is_wanted_of_these(void **state) {
    (void)state;
    static const struct {
        const char *what, *path[3], *value;
        bool refused, wanted;
    } cases[] = {
        {"it was taken", {"code"}, "250", false, true},
        {"it was refused for good", {"code"}, "550", true, true},
        {"it was put off and comes again", {"code"}, "451", true, false},
        {"it was submitted here", {"origin"}, "\"submission\"", false, false},
        {"a submission was refused", {"client", "protocol"}, "\"submission\"", true, false},
        {"it has no sender, as reports have none", {"from"}, "\"\"", false, false},
        {"it is a report of another site",
         {"rcpts"},
         "[{\"address\":\"dmarc-reports@here.example\",\"user\":\"reporter\"}]",
         false,
         false},
        {"there is no verdict", {"verdict"}, "null", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *data = event(), *at = data;
        size_t k = 0;
        for (; k < 2 && cases[i].path[k + 1]; k++) at = json_object_get(at, cases[i].path[k]);
        json_object_set_new(at, cases[i].path[k], json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        if (fact_wants_failure_report(data, cases[i].refused) != cases[i].wanted)
            fail_msg("%s: that is not heeded", cases[i].what);
        json_decref(data);
    }
}

static void tls_sessions_become_rows(void **state) {
    (void)state;
    struct fact f;
    json_t *data = json_loads(
        "{\"domain\":\"Peer.example\",\"rua\":\"mailto:t@peer.example\",\"policy\":{\"type\":\"tlsa\",\"string\":[\"3 "
        "1 1 "
        "AB\"],\"domain\":\"mx.peer.example\"},"
        "\"result\":\"validation-failure\",\"mx\":\"mx.peer.example\",\"ip\":\"192.0.2.3\",\"reason\":\"no match\"}",
        0, NULL);
    assert_true(fact_of_tls(data, &f));
    assert_string_equal(f.domain, "peer.example");
    assert_string_equal(text(json_object_get(f.row, "policy"), "policy-domain"), "mx.peer.example");
    assert_string_equal(text(json_object_get(f.row, "failure"), "result-type"), "validation-failure");
    fact_free(&f);
    json_object_set_new(data, "result", json_string("success"));
    assert_true(fact_of_tls(data, &f));
    assert_null(json_object_get(f.row, "failure"));
    fact_free(&f);
    json_object_set_new(data, "result", json_string("failure of our own making"));
    assert_false(fact_of_tls(data, &f));
    json_object_set_new(data, "rua", json_null());
    assert_false(fact_of_tls(data, &f));
    json_decref(data);
}

static void ids_follow_from_what_they_name(void **state) {
    (void)state;
    char a[ULID_BYTES], b[ULID_BYTES], c[ULID_BYTES];
    report_ulid(1767315600123, "dmarc|1|a.example x@a.example", a);
    report_ulid(1767315600123, "dmarc|1|a.example x@a.example", b);
    report_ulid(1767315600123, "dmarc|1|a.example y@a.example", c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_true(ulid_is_valid(slice_of(a)));
    assert_int_equal(ulid_ms(a), 1767315600123);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_becomes_a_row),
        cmocka_unit_test(what_nobody_asked_to_hear_is_no_fact),
        cmocka_unit_test(failure_reports_are_wanted_as_fo_says),
        cmocka_unit_test(no_failure_report_is_wanted_of_these),
        cmocka_unit_test(tls_sessions_become_rows),
        cmocka_unit_test(ids_follow_from_what_they_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
