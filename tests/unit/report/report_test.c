/* Report formats: what is written can be read again, what others write can be read, and what is
 * hostile is refused within bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/base/base64.h"
#include "libcommon/report/dmarc_aggregate.h"
#include "libcommon/report/dmarc_failure.h"
#include "libcommon/report/report_archive.h"
#include "libcommon/report/report_mail.h"
#include "libcommon/report/report_read.h"
#include "libcommon/report/report_uri.h"
#include "libcommon/report/tls_report.h"

static const char *text(const json_t *object, const char *name) {
    const char *s = json_string_value(json_object_get(object, name));
    return s ? s : "(none)";
}

/* DMARC */

#define HEAD                                                                                                           \
    "<feedback><report_metadata><org_name>o</org_name><email>e@o</email><report_id>i</"                                \
    "report_id><date_range><begin>10</begin><end>20</end></date_range>"                                                \
    "</report_metadata><policy_published><domain>example.com</domain><p>none</p></policy_published>"

static json_t *sample(void) {
    json_t *report = json_loads(
        "{\"version\":\"1.0\",\"org\":\"A & "
        "<B>\",\"email\":\"x@example.org\",\"report_id\":\"r1@example.org\",\"begin\":1767225600,\"end\":1767311999,"
        "\"generator\":\"Postbus\",\"errors\":[\"one "
        "\\\"error\\\"\"],\"policy\":{\"domain\":\"example.com\",\"discovery_method\":\"treewalk\",\"p\":"
        "\"quarantine\","
        "\"sp\":\"none\",\"np\":\"reject\",\"fo\":\"1\",\"adkim\":\"s\",\"aspf\":\"r\",\"testing\":\"n\"},\"records\":["
        "{\"source_ip\":\"2001:db8::1\","
        "\"count\":3,"
        "\"disposition\":\"pass\",\"dkim\":\"pass\",\"spf\":\"fail\",\"reasons\":[{\"type\":\"other\",\"comment\":"
        "\"why "
        "not\"}],\"header_from\":\"example.com\","
        "\"envelope_from\":\"bounce.example.com\",\"envelope_to\":\"example.org\",\"auth_dkim\":[{\"domain\":\"example."
        "com\",\"selector\":\"s\",\"result\":"
        "\"pass\"},"
        "{\"domain\":\"list.example\",\"selector\":\"t\",\"result\":\"fail\",\"human_result\":\"body "
        "changed\"}],\"auth_spf\":[{\"domain\":\"bounce.example.com\","
        "\"scope\":\"mfrom\",\"result\":\"fail\"}]}]}",
        0, NULL);
    assert_non_null(report);
    return report;
}

static void an_aggregate_report_is_read_as_it_was_written(void **state) {
    (void)state;
    struct buf xml = {0};
    char why[160];
    json_t *report = sample();
    dmarc_aggregate_write(report, &xml);
    json_t *read = dmarc_aggregate_read(buf_slice(&xml), why);
    assert_string_equal(why, "");
    assert_true(json_equal(report, read));
    assert_non_null(strstr(buf_str(&xml), "xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\""));
    assert_non_null(strstr(buf_str(&xml), "<org_name>A &amp; &lt;B&gt;</org_name>"));
    json_decref(report);
    json_decref(read);
    buf_free(&xml);
}

static void reports_of_others_are_read(void **state) {
    (void)state;
    static const struct {
        const char *what, *xml, *ip, *disposition, *from;
    } cases[] = {
        {"no namespace, RFC 7489",
         HEAD "<record><row><source_ip>192.0.2.1</source_ip><count>2</count><policy_evaluated><disposition>none</"
              "disposition></policy_evaluated></"
              "row><identifiers><header_from>Example.COM</header_from></identifiers></record></feedback>",
         "192.0.2.1", "none", "example.com"},
        {"prefixed names",
         "<d:feedback "
         "xmlns:d=\"http://dmarc.org/dmarc-xml/0.1\"><d:report_metadata><d:date_range><d:begin>1</d:begin><d:end>2</"
         "d:end></d:date_range></"
         "d:report_metadata><d:policy_published><d:domain>example.com</d:domain></"
         "d:policy_published><d:record><d:row><d:source_ip>::1</d:source_ip></d:row></"
         "d:record></d:feedback>",
         "::1", "(none)", "(none)"},
        {"white space, folds, comments and CDATA",
         "\r\n <?xml version=\"1.0\"?><!-- x -->" HEAD "<record><row><source_ip>\n 192.0.2.1 "
         "\n</source_ip><policy_evaluated><disposition><![CDATA[Reject]]></disposition></policy_evaluated></row></"
         "record></feedback>",
         "192.0.2.1", "reject", "(none)"},
        {"windows-1252",
         "<?xml version=\"1.0\" encoding=\"windows-1252\"?>" HEAD
         "<record><row><source_ip>192.0.2.1</source_ip></row></record></feedback>",
         "192.0.2.1", "(none)", "(none)"},
        {"extensions and elements that nobody knows",
         HEAD "<extension><x><disposition>reject</disposition></x></extension><record><row><source_ip>192.0.2.1</"
              "source_ip><x/></row><y><source_ip>9.9.9.9</"
              "source_ip></y></record></feedback>",
         "192.0.2.1", "(none)", "(none)"},
        {"identities, as drafts had it",
         HEAD "<record><row><source_ip>192.0.2.1</source_ip></row><identities><header_from>a.example</header_from></"
              "identities></record></feedback>",
         "192.0.2.1", "(none)", "a.example"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[160];
        json_t *report = dmarc_aggregate_read(slice_of(cases[i].xml), why);
        if (!report) fail_msg("%s: refused: %s", cases[i].what, why);
        const json_t *record = json_array_get(json_object_get(report, "records"), 0);
        if (strcmp(text(record, "source_ip"), cases[i].ip) != 0 ||
            strcmp(text(record, "disposition"), cases[i].disposition) != 0 ||
            strcmp(text(record, "header_from"), cases[i].from) != 0)
            fail_msg("%s: read as %s %s %s", cases[i].what, text(record, "source_ip"), text(record, "disposition"),
                     text(record, "header_from"));
        json_decref(report);
    }
}

static void xml_that_is_no_report_or_an_attack_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *what, *xml, *why;
    } cases[] = {
        {"nothing", "", "empty"},
        {"another document", "<html><feedback/></html>", "root"},
        {"an internal entity", "<!DOCTYPE feedback [<!ENTITY a \"x\">]>" HEAD "</feedback>", "document type"},
        {"an external document type", "<!DOCTYPE feedback SYSTEM \"file:///etc/passwd\">" HEAD "</feedback>",
         "document type"},
        {"an entity without a document type", HEAD "<record>&xxe;</record></feedback>", "malformed"},
        {"cut off", HEAD "<record>", "malformed"},
        {"no policy",
         "<feedback><report_metadata><date_range><begin>1</begin><end>2</end></date_range></report_metadata></"
         "feedback>",
         "domain of the policy"},
        {"no time", "<feedback><policy_published><domain>a.example</domain></policy_published></feedback>",
         "date range"},
        {"an end before its begin",
         "<feedback><report_metadata><date_range><begin>9</begin><end>2</end></date_range></"
         "report_metadata><policy_published><domain>a.example</domain></"
         "policy_published></feedback>",
         "date range"},
        {"an encoding that nobody has", "<?xml version=\"1.0\" encoding=\"EBCDIC-X\"?>" HEAD "</feedback>",
         "malformed"},
        {"a NUL", "<feedback>\1</feedback>", "malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[160];
        json_t *report = dmarc_aggregate_read(slice_of(cases[i].xml), why);
        if (report) fail_msg("%s: it was read", cases[i].what);
        if (!strstr(why, cases[i].why)) fail_msg("%s: refused for another reason: %s", cases[i].what, why);
    }
}

static void deep_and_endless_xml_is_bounded(void **state) {
    (void)state;
    struct buf xml = {0};
    char why[160];
    buf_add_str(&xml, "<feedback>");
    for (int i = 0; i < 100000; i++) buf_add_str(&xml, "<x>");
    assert_null(dmarc_aggregate_read(buf_slice(&xml), why));
    assert_string_equal(why, "the XML is nested too deep");
    buf_reset(&xml);
    buf_add_str(&xml, HEAD "<record><row><source_ip>");
    for (int i = 0; i < 100000; i++) buf_add_str(&xml, "\xc3\xa4");
    buf_add_str(&xml, "</source_ip></row></record></feedback>");
    json_t *report = dmarc_aggregate_read(buf_slice(&xml), why);
    assert_non_null(report);
    assert_int_equal(
        json_string_length(json_object_get(json_array_get(json_object_get(report, "records"), 0), "source_ip")),
        AGGREGATE_TEXT_MAX);
    json_decref(report);
    buf_reset(&xml);
    buf_add_str(&xml, HEAD);
    for (int i = 0; i < AGGREGATE_RECORDS_MAX + 5; i++)
        buf_add_str(&xml, "<record><row><source_ip>192.0.2.1</source_ip></row></record>");
    buf_add_str(&xml, "</feedback>");
    report = dmarc_aggregate_read(buf_slice(&xml), why);
    assert_int_equal(json_array_size(json_object_get(report, "records")), AGGREGATE_RECORDS_MAX);
    assert_int_equal(json_integer_value(json_object_get(report, "records_cut")), 5);
    json_decref(report);
    buf_free(&xml);
}

/* TLS */

/* The shape of RFC 8460 Appendix B. */
static const char tls_text[] =
    "{\"organization-name\":\"Company-X\",\"date-range\":{\"start-datetime\":\"2016-04-01T00:00:00Z\",\"end-datetime\":"
    "\"2016-04-01T23:59:59Z\"},"
    "\"contact-info\":\"sts-reporting@company-x.example\",\"report-id\":\"5065427c-23d3-47ca-b6e0-946ea0e8c4be\","
    "\"policies\":[{\"policy\":{\"policy-type\":"
    "\"sts\","
    "\"policy-string\":[\"version: STSv1\",\"mode: "
    "testing\"],\"policy-domain\":\"company-y.example\",\"mx-host\":[\"*.mail.company-y.example\"]},"
    "\"summary\":{\"total-successful-session-count\":5326,\"total-failure-session-count\":303},\"failure-details\":[{"
    "\"result-type\":\"certificate-expired\","
    "\"sending-mta-ip\":\"2001:db8:abcd:0012::1\",\"receiving-mx-hostname\":\"mx1.mail.company-y.example\",\"failed-"
    "session-count\":100},{\"result-type\":"
    "\"starttls-not-supported\",\"sending-mta-ip\":\"2001:db8:abcd:0013::1\",\"receiving-mx-hostname\":\"mx2.mail."
    "company-y.example\",\"receiving-ip\":"
    "\"203.0.113.56\",\"failed-session-count\":200,\"additional-information\":\"https://reports.company-x.example/"
    "report_info\"}]}]}";

static void a_tls_report_is_read(void **state) {
    (void)state;
    char why[160], at[TLS_REPORT_TIME_BYTES];
    int64_t begin, end;
    json_int_t good, bad;
    json_t *report = tls_report_read(slice_of(tls_text), why), *expected = json_loads(tls_text, 0, NULL);
    assert_string_equal(why, "");
    assert_true(json_equal(report, expected));
    assert_int_equal(tls_report_range(report, &begin, &end), 0);
    assert_int_equal(begin, 1459468800);
    assert_int_equal(end, 1459555199);
    assert_string_equal(tls_report_time(begin, at), "2016-04-01T00:00:00Z");
    tls_report_totals(report, &good, &bad);
    assert_int_equal(good, 5326);
    assert_int_equal(bad, 303);
    assert_string_equal(tls_report_domain(report), "company-y.example");
    json_decref(report);
    json_decref(expected);
}

static void tls_reports_of_others_and_broken_ones(void **state) {
    (void)state;
#define RANGE                                                                                                          \
    "\"date-range\":{\"start-datetime\":\"2026-01-01T00:00:00.000+01:00\",\"end-datetime\":\"2026-01-02T00:00:00Z\"}"
    static const struct {
        const char *what, *json;
        bool good;
    } cases[] = {
        {"numbers as texts, one string for a list, fractions and zones",
         "{" RANGE ",\"policies\":[{\"policy\":{\"policy-domain\":\"a.example\",\"mx-host\":\"mx\"},\"summary\":{"
         "\"total-successful-session-count\":\"7\"}}]}",
         true},
        {"no summary", "{" RANGE ",\"policies\":[{\"policy\":{\"policy-domain\":\"a.example\"}}]}", true},
        {"no policy", "{" RANGE ",\"policies\":[]}", false},
        {"policies that are none", "{" RANGE ",\"policies\":[1,\"x\",null]}", false},
        {"no range", "{\"policies\":[{\"policy\":{\"policy-domain\":\"a.example\"}}]}", false},
        {"a day that is none",
         "{\"date-range\":{\"start-datetime\":\"2026-13-01T00:00:00Z\",\"end-datetime\":\"2026-01-02T00:00:00Z\"},"
         "\"policies\":[{\"policy\":{\"policy-domain\":"
         "\"a.example\"}}]}",
         false},
        {"an array", "[1,2]", false},
        {"not JSON", "{", false},
        {"nothing", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[160];
        json_t *report = tls_report_read(slice_of(cases[i].json), why);
        if ((report != NULL) != cases[i].good) fail_msg("%s: %s", cases[i].what, report ? "it was read" : why);
        json_decref(report);
    }
    struct buf deep = {0};
    char why[160];
    for (int i = 0; i < 100000; i++) buf_add_str(&deep, "{\"a\":");
    assert_null(tls_report_read(buf_slice(&deep), why));
    buf_free(&deep);
}

/* Archives */

static void unhex(const char *hex, struct buf *out) {
    for (; *hex; hex += 2) {
        char pair[3] = {hex[0], hex[1], 0};
        buf_add_char(out, (char)strtol(pair, NULL, 16));
    }
}

static void what_is_packed_is_unpacked(void **state) {
    (void)state;
    struct buf packed = {0}, again = {0}, out = {0};
    const char *why;
    report_pack(SLICE("<feedback/>"), &packed);
    report_pack(SLICE("<feedback/>"), &again);
    assert_int_equal(packed.n, again.n);
    assert_memory_equal(packed.data, again.data, packed.n); /* the same bytes: no time in it */
    assert_int_equal(report_unpack(buf_slice(&packed), &out, &why), 0);
    assert_string_equal(buf_str(&out), "<feedback/>");
    buf_reset(&out);
    assert_int_equal(report_unpack(SLICE("<plain/>"), &out, &why), 0);
    assert_string_equal(buf_str(&out), "<plain/>");
    packed.n -= 6; /* cut off */
    buf_reset(&out);
    assert_int_equal(report_unpack(buf_slice(&packed), &out, &why), -1);
    assert_int_equal(out.n, 0);
    buf_reset(&packed);
    /* a zip of "readme" (stored: hello) and "r.xml" (stored: <x/>): the report is taken, whichever
     * comes first */
    unhex("504b03041400000000000000210086a61036050000000500000006000000726561646d6568656c6c6f504b0304140000000000000021"
          "002b84261204"
          "0000000400000005000000722e786d6c3c782f3e504b010214031400000000000000210086a610360500000005000000060000000000"
          "000000000000"
          "800100000000726561646d65504b01021403140000000000000021002b84261204000000040000000500000000000000000000008001"
          "29000000722e"
          "786d6c504b0506000000000200020067000000500000000000",
          &packed);
    assert_int_equal(report_unpack(buf_slice(&packed), &out, &why), 0);
    assert_string_equal(buf_str(&out), "<x/>");
    buf_reset(&out);
    for (size_t n = 0; n < packed.n; n++) { /* cut anywhere it is read whole or refused, never in
                                               part */
        const char *cut_why;
        if (report_unpack(slice_head(buf_slice(&packed), n), &out, &cut_why) == 0 && n >= 4)
            assert_true(strcmp(buf_str(&out), "<x/>") == 0 || strcmp(buf_str(&out), "hello") == 0);
        buf_reset(&out);
    }
    buf_free(&packed);
    buf_free(&again);
    buf_free(&out);
}

static void a_bomb_is_refused_at_its_bound(void **state) {
    (void)state;
    struct buf zeros = {0}, packed = {0}, out = {0};
    const char *why;
    size_t n = (size_t)REPORT_BYTES_MAX + 1024;
    memset(buf_reserve(&zeros, n), ' ', n);
    zeros.n = n;
    report_pack(buf_slice(&zeros), &packed);
    assert_true(packed.n < n / 500);
    assert_int_equal(report_unpack(buf_slice(&packed), &out, &why), -1);
    assert_string_equal(why, "the archive contains more than 32 MiB");
    assert_int_equal(out.n, 0);
    assert_int_equal(report_unpack(buf_slice(&zeros), &out, &why), -1);
    buf_free(&zeros);
    buf_free(&packed);
    buf_free(&out);
}

/* Addresses */

static void report_addresses(void **state) {
    (void)state;
    static const struct {
        const char *list, *found; /* "address size," or "url," of each */
    } cases[] = {
        {"mailto:a@example.org", "a@example.org 0,"},
        {"mailto:a@example.org!10m", "a@example.org 10485760,"},
        {"MAILTO:a%2Bb@Example.ORG!2k , mailto:c@d.example", "a+b@example.org 2048,c@d.example 0,"},
        {"mailto:a%21b@example.org", "a!b@example.org 0,"},
        {"mailto:a@example.org!x", ""},
        {"mailto:a@example.org!99999999999999999999t", ""},
        {"mailto:a@example.org?subject=x%0d%0aBcc:%20y", "a@example.org 0,"},
        {"mailto:a%0d%0aBcc:b@example.org", ""},
        {"mailto:a%00@example.org", ""},
        {"mailto:\"a b\"@example.org", ""},
        {"mailto:nobody,mailto:@example.org,mailto:,,", ""},
        {"https://reports.example/v1?x=y", "https://reports.example/v1?x=y,"},
        {"https://Reports.example:8443/", "https://Reports.example:8443/,"},
        {"https://user:secret@reports.example/", ""},
        {"https:///nohost,http://plain.example/,ftp://x.example/", ""},
        {"https://a.example/\x01", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice rest = slice_of(cases[i].list);
        struct report_uri uri;
        struct buf found = {0};
        while (report_uri_next(&rest, &uri)) {
            if (uri.scheme == REPORT_HTTPS)
                buf_printf(&found, "%s,", uri.url);
            else
                buf_printf(&found, "%s %llu,", uri.address, (unsigned long long)uri.max_bytes);
        }
        if (strcmp(buf_str(&found), cases[i].found) != 0) fail_msg("%s: found %s", cases[i].list, buf_str(&found));
        buf_free(&found);
    }
}

/* Mails */

static const struct report_mail letter = {.from = "postmaster@receiver.example",
                                          .to = "reports@example.com",
                                          .id = "01JDADM0000000000000000001",
                                          .host = "mx.receiver.example",
                                          .submitter = "mx.receiver.example",
                                          .domain = "example.com",
                                          .report_id = "r1@mx.receiver.example",
                                          .begin = 1767225600,
                                          .end = 1767311999,
                                          .now_ms = 1767315600000};

static void mails_of_ours_are_read_by_ourselves(void **state) {
    (void)state;
    struct buf xml = {0}, packed = {0}, mail = {0};
    struct report_read r;
    json_t *report = sample();
    dmarc_aggregate_write(report, &xml);
    report_pack(buf_slice(&xml), &packed);
    report_mail_aggregate(&letter, buf_slice(&packed), &mail);
    assert_non_null(
        strstr(buf_str(&mail),
               "filename=\"mx.receiver.example!example.com!1767225600!1767311999.xml.gz\"")); /* RFC 9990 §3.5.2 */
    assert_non_null(strstr(buf_str(&mail), "Subject: Report Domain: example.com\r\n\tSubmitter: "
                                           "mx.receiver.example\r\n\tReport-ID: <r1@mx.receiver.example>\r\n"));
    report_read_mail(buf_slice(&mail), &r);
    assert_int_equal(r.kind, REPORT_DMARC);
    assert_true(json_equal(r.report, report));
    assert_string_equal(r.domain, "example.com");
    assert_int_equal(r.passed, 3);
    assert_int_equal(r.failed, 0);
    report_read_free(&r);
    json_decref(report);
    buf_reset(&packed);
    buf_reset(&mail);
    report_pack(slice_of(tls_text), &packed);
    report_mail_tls(&letter, buf_slice(&packed), &mail);
    report_read_mail(buf_slice(&mail), &r);
    assert_int_equal(r.kind, REPORT_TLS);
    assert_string_equal(r.domain, "company-y.example");
    assert_int_equal(r.failed, 303);
    report_read_free(&r);
    buf_reset(&mail);
    report =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "feedback_type", "auth-failure", "user_agent", "Postbus", "version", "1",
                  "auth_failure", "dmarc", "reported_domain", "Example.com", "source_ip", "192.0.2.1\r\nInjected: yes");
    struct buf fields = {0};
    dmarc_failure_write(report, &fields);
    assert_null(strstr(buf_str(&fields), "\nInjected"));
    report_mail_failure(&letter, buf_slice(&fields), SLICE("From: <redacted@example.com>\r\n"), &mail);
    report_read_mail(buf_slice(&mail), &r);
    assert_int_equal(r.kind, REPORT_FAILURE);
    assert_string_equal(r.domain, "example.com");
    assert_string_equal(text(r.report, "header"), "From: <redacted@example.com>\r\n");
    report_read_free(&r);
    json_decref(report);
    buf_free(&fields);
    buf_free(&xml);
    buf_free(&packed);
    buf_free(&mail);
}

static void mails_without_a_report_are_told_why(void **state) {
    (void)state;
    static const struct {
        const char *mail, *why;
    } cases[] = {
        {"Subject: hello\r\n\r\nNo report here.\r\n", "no part of the mail is a report"},
        {"", "no part of the mail is a report"},
        {"Content-Type: application/gzip\r\nContent-Transfer-Encoding: x-own\r\n\r\n!!!!\r\n",
         "the transfer encoding of the report is unknown"},
        /* foreign bytes in base 64 are left out (RFC 2045 section 6.8): nothing remains */
        {"Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n",
         "it is neither the XML of a DMARC report nor the JSON of a TLS report"},
        {"Content-Type: application/zip\r\n\r\nPK\x03\x04garbage\r\n", "the archive is damaged"},
        {"Content-Type: text/xml\r\n\r\nno xml\r\n",
         "it is neither the XML of a DMARC report nor the JSON of a TLS report"},
        {"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: "
         "message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\r\n--b--\r\n",
         "the feedback report is not about authentication: its type is abuse"},
        {"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: "
         "message/feedback-report\r\n\r\nFeedback-Type: "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9\r\n\r\n--b--\r\n",
         "the feedback report is not about authentication: its type is "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?"}, /* not half of an é */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report_read r;
        report_read_mail(slice_of(cases[i].mail), &r);
        assert_null(r.report);
        if (r.kind != REPORT_UNREADABLE || strncmp(r.why, cases[i].why, strlen(cases[i].why)) != 0)
            fail_msg("case %zu: %s", i, r.why);
    }
}

static void a_report_too_large_to_keep_is_cut_and_says_so(void **state) {
    (void)state;
    struct buf xml = {0};
    struct report_read r;
    buf_add_str(&xml, HEAD);
    for (int i = 0; i < 12000; i++)
        buf_printf(&xml,
                   "<record><row><source_ip>192.0.2.%d</source_ip><count>1</count></"
                   "row><identifiers><header_from>example.com</header_from></identifiers></record>",
                   i % 256);
    buf_add_str(&xml, "</feedback>");
    report_read_file(buf_slice(&xml), &r);
    assert_int_equal(r.kind, REPORT_DMARC);
    assert_int_equal(r.failed, 12000); /* the sums are of all */
    assert_true(json_dumpb(r.report, NULL, 0, JSON_COMPACT) <= REPORT_JSON_MAX);
    assert_int_equal(json_integer_value(json_object_get(r.report, "records_cut")) +
                         (json_int_t)json_array_size(json_object_get(r.report, "records")),
                     12000);
    report_read_free(&r);
    buf_free(&xml);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_aggregate_report_is_read_as_it_was_written),
        cmocka_unit_test(reports_of_others_are_read),
        cmocka_unit_test(xml_that_is_no_report_or_an_attack_is_refused),
        cmocka_unit_test(deep_and_endless_xml_is_bounded),
        cmocka_unit_test(a_tls_report_is_read),
        cmocka_unit_test(tls_reports_of_others_and_broken_ones),
        cmocka_unit_test(what_is_packed_is_unpacked),
        cmocka_unit_test(a_bomb_is_refused_at_its_bound),
        cmocka_unit_test(report_addresses),
        cmocka_unit_test(mails_of_ours_are_read_by_ourselves),
        cmocka_unit_test(mails_without_a_report_are_told_why),
        cmocka_unit_test(a_report_too_large_to_keep_is_cut_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
