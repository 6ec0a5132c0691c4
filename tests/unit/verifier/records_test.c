/* The records that a domain should publish, from its settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/base/arena.h"
#include "services/verifier/check/check_judge.h"
#include "services/verifier/zone/publish.h"
#include "services/verifier/zone/record_list.h"

static struct records_input plain(void) {
    return (struct records_input){.domain = "example.org",
                                  .mail_host = "mx.example.org",
                                  .addresses = "192.0.2.1, 2001:db8::1",
                                  .outgoing_name = "",
                                  .outgoing = "",
                                  .ns_names = "",
                                  .ns_addresses = "",
                                  .dmarc_policy = "reject",
                                  .dmarc_rua = "mailto:r@example.org",
                                  .dmarc_ruf = "",
                                  .tlsrpt_rua = "mailto:t@example.org",
                                  .mta_sts = "",
                                  .tlsa_hex = "",
                                  .tlsa_next_hex = "",
                                  .bimi_location = "",
                                  .bimi_authority = ""};
}

/* The value of the nth record (name, type); NULL when there is none. */
static const char *value_of(size_t n, const struct dns_record records[], const char *name, const char *type, int nth) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(records[i].name, name) == 0 && strcmp(records[i].type, type) == 0 && nth-- == 0)
            return records[i].value;
    return NULL;
}

static void all_kinds(void **state) {
    struct arena *arena = *state;
    struct dns_record r[RECORDS_MAX];
    struct records_input in = plain();
    in.outgoing_name = "out.example.org", in.outgoing = "192.0.2.9", in.ns_names = "ns1.example.org.,ns.far.test",
    in.ns_addresses = "192.0.2.53";
    in.mta_sts = "enforce", in.tlsa_hex = "aa", in.tlsa_next_hex = "bb", in.bimi_location = "https://example.org/l.svg",
    in.bimi_authority = "https://example.org/a.pem";
    in.caa_count = 3, in.caa[0] = "ca.test", in.caa[1] = "wild:ca.test", in.caa[2] = "iodef:mailto:s@example.org";
    size_t n = records_make(arena, &in, r);
    assert_string_equal(value_of(n, r, "example.org", "MX", 0), "10 mx.example.org.");
    assert_string_equal(value_of(n, r, "example.org", "TXT", 0),
                        "\"v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ip4:192.0.2.9 mx -all\"");
    assert_string_equal(value_of(n, r, "mx.example.org", "AAAA", 0), "2001:db8::1");
    assert_string_equal(value_of(n, r, "out.example.org", "A", 0), "192.0.2.9");
    assert_string_equal(value_of(n, r, "ns1.example.org", "A", 0), "192.0.2.53");
    assert_null(value_of(n, r, "ns.far.test", "A", 0));
    assert_string_equal(value_of(n, r, "_25._tcp.mx.example.org", "TLSA", 0), "3 1 1 aa");
    assert_string_equal(value_of(n, r, "_25._tcp.mx.example.org", "TLSA", 1), "3 1 1 bb");
    assert_string_equal(value_of(n, r, "example.org", "CAA", 1), "0 issuewild \"ca.test\"");
    assert_string_equal(value_of(n, r, "example.org", "CAA", 2), "0 iodef \"mailto:s@example.org\"");
    assert_string_equal(value_of(n, r, "default._bimi.example.org", "TXT", 0),
                        "\"v=BIMI1; l=https://example.org/l.svg; a=https://example.org/a.pem;\"");
    assert_string_equal(value_of(n, r, "mta-sts.example.org", "CNAME", 0), "mx.example.org.");
    assert_string_equal(value_of(n, r, "_autodiscover._tcp.example.org", "SRV", 0), "0 1 443 mx.example.org.");
    for (size_t i = 0; i < n; i++) assert_true(r[i].purpose && *r[i].purpose);
}

static void the_same_key_next_is_one_record(void **state) {
    struct dns_record r[RECORDS_MAX];
    struct records_input in = plain();
    in.tlsa_hex = in.tlsa_next_hex = "aa";
    size_t n = records_make(*state, &in, r);
    assert_non_null(value_of(n, r, "_25._tcp.mx.example.org", "TLSA", 0));
    assert_null(value_of(n, r, "_25._tcp.mx.example.org", "TLSA", 1));
}

static void reports_elsewhere_need_a_permission_there(void **state) {
    struct dns_record r[RECORDS_MAX];
    struct records_input in = plain();
    in.dmarc_rua = "mailto:a@Reports.Test!10m,mailto:b@sub.example.org,https://x.test/";
    in.dmarc_ruf = "mailto:c@reports.test";
    size_t n = records_make(*state, &in, r);
    assert_string_equal(value_of(n, r, "example.org._report._dmarc.reports.test", "TXT", 0), "\"v=DMARC1\"");
    assert_null(value_of(n, r, "example.org._report._dmarc.reports.test", "TXT", 1));
    assert_null(value_of(n, r, "example.org._report._dmarc.sub.example.org", "TXT", 0));
}

static void hosts_of_another_domain_are_not_in_this_zone(void **state) {
    struct dns_record r[RECORDS_MAX];
    struct records_input in = plain();
    in.mail_host = "mx.notexample.org", in.tlsa_hex = "aa";
    size_t n = records_make(*state, &in, r);
    for (size_t i = 0; i < n; i++) assert_true(record_is_inside(r[i].name, "example.org"));
    assert_null(value_of(n, r, "mx.notexample.org", "A", 0));
}

static void long_texts_are_cut_at_255_bytes_and_quotes_escaped(void **state) {
    char text[600];
    memset(text, 'x', sizeof text);
    text[510] = '\0';
    const char *value = record_txt(*state, text);
    assert_int_equal(strlen(value), 510 + 2 * 2 + 1);
    assert_memory_equal(value + 255, "x\" \"x", 5);
    assert_string_equal(record_txt(*state, ""), "\"\"");
    assert_string_equal(record_txt(*state, "a\"b\\c"), "\"a\\\"b\\\\c\"");
    struct dns_record record = {.type = "TXT", .value = record_txt(*state, "a\"b\\c")};
    assert_string_equal(check_text_wanted(*state, &record), "a\"b\\c");
}

/* what must not stand beside ours, and what must be left alone */
static void rivals(void **state) {
    (void)state;
    static const struct {
        const char *name, *wanted, *found;
        bool rival;
    } cases[] = {
        {"example.org", "v=spf1 -all", "v=spf1 mx -all", true},
        {"example.org", "v=spf1 -all", "V=SPF1", true},
        {"example.org", "v=spf1 -all", "v=spf10 x", false},
        {"example.org", "v=spf1 -all", "google-site-verification=abc", false},
        {"_dmarc.example.org", "v=DMARC1; p=none", "v=DMARC1;p=reject", true},
        {"_dmarc.example.org", "v=DMARC1; p=none", "", false},
        {"s._domainkey.example.org", "v=DKIM1; k=rsa; p=x", "k=rsa; p=y", true},
        {"_domainkey.example.org", "v=DKIM1; p=x", "o=~", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(update_rivals(slice_of(cases[i].name), slice_of(cases[i].wanted), slice_of(cases[i].found)),
                         cases[i].rival);
}

static json_t *parse(const char *text) {
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

/* Zones are removed only when they were missed for long enough, in lists that can be believed. */
static void which_zones_are_gone(void **state) {
    (void)state;
    static const struct {
        const char *what, *hosted, *catalog, *seen;
        int64_t now;
        const char *gone, *seen_after; /* gone NULL: none may go */
    } cases[] = {
        {"nothing is missed", "{\"a\":true}", "[\"a\"]", "{}", 1000, "[]", "{}"},
        {"missed for the first time", "{\"a\":true}", "[\"a\",\"b\"]", "{}", 1000, "[]", "{\"b\":1000}"},
        {"not missed for long enough", "{\"a\":true}", "[\"a\",\"b\"]", "{\"b\":1000}", 1099, "[]", "{\"b\":1000}"},
        {"missed for long enough", "{\"a\":true}", "[\"a\",\"b\"]", "{\"b\":1000}", 1100, "[\"b\"]", "{\"b\":1000}"},
        {"hosted again: the time begins anew", "{\"a\":true,\"b\":true}", "[\"a\",\"b\"]", "{\"b\":1000}", 9000, "[]",
         "{}"},
        {"gone from the catalog meanwhile", "{\"a\":true}", "[\"a\"]", "{\"b\":1000}", 9000, "[]", "{}"},
        {"an empty list of domains", "{}", "[\"b\"]", "{\"b\":1}", 9000, NULL, "{\"b\":1}"},
        {"more would go than stay", "{\"a\":true}", "[\"a\",\"b\",\"c\"]", "{\"b\":1,\"c\":1}", 9000, NULL,
         "{\"b\":1,\"c\":1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *hosted = parse(cases[i].hosted), *catalog = parse(cases[i].catalog), *seen = parse(cases[i].seen);
        const char *reason;
        json_t *gone = publish_choose_gone(hosted, catalog, seen, cases[i].now, 100, &reason);
        json_t *want = cases[i].gone ? parse(cases[i].gone) : NULL, *after = parse(cases[i].seen_after);
        if (!json_equal(gone, want) && (gone || want)) fail_msg("%s: other zones are gone", cases[i].what);
        if (!json_equal(seen, after)) fail_msg("%s: other zones are remembered", cases[i].what);
        assert_int_equal(!gone, reason != NULL);
        json_decref(hosted), json_decref(catalog), json_decref(seen), json_decref(gone), json_decref(want),
            json_decref(after);
    }
}

static void refusals_in_words(void **state) {
    (void)state;
    static const struct {
        int rcode, error;
        const char *said;
    } cases[] = {
        {5, 0, "allow updates of the zone to this key"},
        {9, 0, "not the zone's primary"},
        {9, 17, "does not know the TSIG key k1"},
        {9, 16, "another secret"},
        {9, 18, "clocks"},
        {2, 0, "its log says why"},
        {4, 0, "takes no updates"},
        {10, 0, "NOTZONE"},
        {99, 0, "error 99"},
    };
    char reason[DNS_REASON_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dns_server_explain(cases[i].rcode, cases[i].error, "example.org", "k1", reason);
        if (!strstr(reason, cases[i].said) || !strstr(reason, "example.org"))
            fail_msg("%d/%d: %s", cases[i].rcode, cases[i].error, reason);
    }
}

/* Records as they come on the wire, also malformed ones, as text that steers no terminal. */
static void wire_as_text(void **state) {
    static const struct {
        int type;
        struct slice data;
        const char *text;
    } cases[] = {
        {TYPE_SRV, SLICE("\0\1\0\2\1\xbb\2MX\4test\0"), "1 2 443 mx.test."},
        {TYPE_SRV, SLICE("\0\1\0\2\1\xbb\2MX\4te"), "1 2 443 ?"},
        {TYPE_SRV, SLICE("\0\1"), "?"},
        {TYPE_TLSA, SLICE("\3\1\1\xab\xcd"), "3 1 1 abcd"},
        {TYPE_TLSA, SLICE("\3\1"), "?"},
        {TYPE_DS, SLICE("\x01\x02\x0d\x02\xff"), "258 13 2 ff"},
        {TYPE_CAA, SLICE("\0\5issueca.test"), "0 issue \"ca.test\""},
        {TYPE_CAA, SLICE("\0\x09issue"), "?"},
        {TYPE_TXT, SLICE("a\x1b[31m\xff"), "a?[31m?"},
        {TYPE_A, SLICE("\xc0\0\2\1"), "192.0.2.1"},
        {TYPE_NS, SLICE("ns.test"), "ns.test."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer_record record = {.data = cases[i].data};
        assert_string_equal(check_text_of(*state, cases[i].type, &record), cases[i].text);
    }
}

static int setup(void **state) {
    *state = arena_create();
    return 0;
}

static int teardown(void **state) {
    arena_destroy(*state);
    return 0;
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_key_next_is_one_record, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_elsewhere_need_a_permission_there, setup, teardown),
        cmocka_unit_test_setup_teardown(hosts_of_another_domain_are_not_in_this_zone, setup, teardown),
        cmocka_unit_test_setup_teardown(long_texts_are_cut_at_255_bytes_and_quotes_escaped, setup, teardown),
        cmocka_unit_test(rivals),
        cmocka_unit_test(which_zones_are_gone),
        cmocka_unit_test(refusals_in_words),
        cmocka_unit_test_setup_teardown(wire_as_text, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
