/* How mail may travel, as other domains say it: MTA-STS (RFC 8461), TLS-RPT records (RFC 8460 §3),
 * DANE for SMTP (RFC 7672). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "libcommon/trust/transport/dane.h"
#include "libcommon/trust/transport/mta_sts.h"
#include "libcommon/trust/transport/tls_rpt.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

static void sts_records_follow_the_grammar(void **state) {
    static const struct {
        const char *text, *id; /* NULL: malformed */
        bool is;               /* counts as an MTA-STS record at all */
    } cases[] = {
        {"v=STSv1; id=20160831085700Z;", "20160831085700Z", true}, /* RFC 8461 §3.1's example */
        {"v=STSv1;id=1", "1", true},
        {"v=STSv1 ;\tid=1 ; ", "1", true},
        {"v=STSv1; future=yes; id=a", "a", true},
        {"v=STSv1; id=a; id=b", "a", true},
        {"v=STSv1; id=12345678901234567890123456789012", "12345678901234567890123456789012", true}, /* 32 */
        {"v=STSv1; id=123456789012345678901234567890123", NULL, true},
        {"v=STSv1; id=", NULL, true},
        {"v=STSv1; id=a-b", NULL, true}, /* letters and digits only */
        {"v=STSv1; id=a; nonsense", NULL, true},
        {"v=STSv1; id=a;; x=y", NULL, true},
        {"v=STSv1; id = a", NULL, true}, /* no white space around "=" */
        {"v=STSv1;", NULL, true},
        {"v=STSv1", NULL, false},
        {"v=STSv12; id=a", NULL, false},
        {"v=stsv1; id=a", NULL, false}, /* the version is case-sensitive */
        {" v=STSv1; id=a", NULL, false},
        {"id=a; v=STSv1", NULL, false},
        {"", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice id;
        int error = mta_sts_record_parse(slice_of(cases[i].text), &id);
        if ((error == 0) != (cases[i].id != NULL) || mta_sts_record_is(slice_of(cases[i].text)) != cases[i].is)
            fail_msg("%s", cases[i].text);
        if (!error) assert_true(slice_is(id, cases[i].id));
    }
}

static void sts_policies_are_read_or_refused(void **state) {
    static const struct {
        const char *text;
        int mode; /* -1: malformed */
        uint32_t max_age;
        size_t mx;
    } cases[] = {
        {"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmx: backupmx.example.com\nmax_age: "
         "604800\n",
         MTA_STS_ENFORCE, 604800, 3}, /* §3.2 */
        {"version: STSv1\r\nmode: testing\r\nmx: a.test\r\nmax_age: 1\r\n", MTA_STS_TESTING, 1, 1},
        {"max_age:86400\nmx:A.Test\nmode:enforce\nversion:STSv1", MTA_STS_ENFORCE, 86400,
         1}, /* any order, no space needed */
        {"version: STSv1\nmode: none\nmax_age: 0\n", MTA_STS_NONE, 0, 0},
        {"version: STSv1\nmode: enforce\nmode: none\nmx: a.test\nmax_age: 5\nmax_age: 9\nversion: STSv9\n",
         MTA_STS_ENFORCE, 5, 1}, /* the first counts */
        {"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 9999999999\n", MTA_STS_ENFORCE, MTA_STS_MAX_AGE_MAX, 1},
        {"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 5\nnew_thing: \xc3\xa9 x\n", MTA_STS_ENFORCE, 5, 1},
        {"version: STSv1\nmode: enforce\nmax_age: 5\n", -1, 0, 0}, /* no mx */
        {"version: STSv1\nmode: enforce\nmx: a.test\n", -1, 0, 0},
        {"version: STSv1\nmx: a.test\nmax_age: 5\n", -1, 0, 0},
        {"mode: enforce\nmx: a.test\nmax_age: 5\n", -1, 0, 0},
        {"version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 5\n", -1, 0, 0},
        {"version: STSv1\nmode: Enforce\nmx: a.test\nmax_age: 5\n", -1, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -5\n", -1, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 12345678901\n", -1, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: mail.*.test\nmax_age: 5\n", -1, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: *\nmax_age: 5\n", -1, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: .a.test\nmax_age: 5\n", -1, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: a..test\nmax_age: 5\n", -1, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 5\nwords without a colon\n", -1, 0, 0},
        {"<html>not found</html>", -1, 0, 0},
        {"", -1, 0, 0},
    };
    (void)state;
    struct arena *arena = arena_create();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mta_sts_policy p;
        int error = mta_sts_policy_parse(arena, slice_of(cases[i].text), &p);
        if ((error == 0) != (cases[i].mode >= 0)) fail_msg("%s", cases[i].text);
        if (error) continue;
        assert_int_equal(p.mode, cases[i].mode);
        assert_int_equal(p.max_age, cases[i].max_age);
        assert_int_equal(p.mx_count, cases[i].mx);
    }
    arena_destroy(arena);
}

static void sts_patterns_name_hosts(void **state) {
    static const struct {
        const char *pattern, *host;
        bool allows;
    } cases[] = {
        {"mx.example.com", "mx.example.com", true}, {"mx.example.com", "MX.Example.COM", true},
        {"*.example.com", "mx.example.com", true},  {"*.example.com", "a.mx.example.com", false}, /* one label (§4.1) */
        {"*.example.com", "example.com", false},    {"*.example.com", ".example.com", false},
        {"example.com", "mx.example.com", false},   {"mx.example.com", "mx.example.com.evil", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (mta_sts_pattern_allows(slice_of(cases[i].pattern), slice_of(cases[i].host)) != cases[i].allows)
            fail_msg("%s %s", cases[i].pattern, cases[i].host);
}

static void tls_rpt_records_name_where_reports_go(void **state) {
    static const struct {
        const char *text, *rua; /* NULL: malformed */
        bool is;
    } cases[] = {
        {"v=TLSRPTv1; rua=mailto:reports@example.com", "mailto:reports@example.com", true}, /* RFC 8460 §3.1.1 */
        {"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", "https://reporting.example.com/v1/tlsrpt", true},
        {"v=TLSRPTv1;rua=mailto:a@b.test, https://c.test/x?y=z ;", "mailto:a@b.test, https://c.test/x?y=z", true},
        {"v=TLSRPTv1; ext=1; rua=mailto:a@b.test", "mailto:a@b.test", true},
        {"v=TLSRPTv1; rua=mailto:nobody", NULL, true},
        {"v=TLSRPTv1; rua=http://plain.test/", NULL, true},
        {"v=TLSRPTv1; rua=mailto:a@b.test,", NULL, true},
        {"v=TLSRPTv1; rua=", NULL, true},
        {"v=TLSRPTv1;", NULL, true},
        {"v=TLSRPTv1", NULL, false},
        {"v=TLSRPTv2; rua=mailto:a@b.test", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice rua;
        int error = tls_rpt_record_parse(slice_of(cases[i].text), &rua);
        if ((error == 0) != (cases[i].rua != NULL) || tls_rpt_record_is(slice_of(cases[i].text)) != cases[i].is)
            fail_msg("%s", cases[i].text);
        if (!error) assert_true(slice_is(rua, cases[i].rua));
    }
}

#define A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B32 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void which_tlsa_records_count(void **state) {
    static const struct {
        unsigned char set[4][3]; /* usage, selector, matching; usage 9: the end */
        const char *data[4];
        enum dane_demand demand;
        size_t chosen;
    } cases[] = {
        {{{9, 0, 0}}, {NULL}, DANE_NONE, 0},
        {{{3, 1, 1}, {9, 0, 0}}, {A32}, DANE_VERIFY, 1},
        {{{3, 0, 1}, {2, 1, 1}, {9, 0, 0}}, {A32, B32}, DANE_VERIFY, 2},
        {{{2, 0, 2}, {9, 0, 0}}, {A32 B32}, DANE_VERIFY, 1},
        {{{0, 0, 1}, {1, 1, 1}, {9, 0, 0}},
         {A32, A32},
         DANE_ENCRYPT,
         0}, /* RFC 7672 §3.1.3: PKIX-TA and PKIX-EE cannot be used for SMTP */
        {{{1, 1, 1}, {3, 1, 1}, {9, 0, 0}}, {A32, A32}, DANE_VERIFY, 1},
        {{{3, 2, 1}, {9, 0, 0}}, {A32}, DANE_ENCRYPT, 0}, /* an unknown selector */
        {{{3, 1, 3}, {9, 0, 0}}, {A32}, DANE_ENCRYPT, 0}, /* an unknown digest */
        {{{4, 1, 1}, {255, 1, 1}, {9, 0, 0}}, {A32, A32}, DANE_ENCRYPT, 0},
        {{{3, 1, 1}, {9, 0, 0}}, {"too short"}, DANE_ENCRYPT, 0},
        {{{3, 1, 2}, {9, 0, 0}}, {A32}, DANE_ENCRYPT, 0},
        {{{3, 0, 0}, {9, 0, 0}}, {"no certificate"}, DANE_ENCRYPT, 0},
        {{{2, 1, 0}, {9, 0, 0}}, {"no key"}, DANE_ENCRYPT, 0},
        {{{3, 1, 1}, {3, 1, 2}, {9, 0, 0}},
         {A32, A32 B32},
         DANE_VERIFY,
         1}, /* RFC 7671 §9: the strongest digest alone */
        {{{3, 1, 1}, {3, 0, 2}, {9, 0, 0}},
         {A32, A32 B32},
         DANE_VERIFY,
         2}, /* of another selector it outdoes nothing */
        {{{2, 1, 1}, {3, 1, 2}, {9, 0, 0}}, {A32, A32 B32}, DANE_VERIFY, 2},     /* nor of another usage */
        {{{3, 1, 1}, {3, 1, 2}, {9, 0, 0}}, {A32, "malformed"}, DANE_VERIFY, 1}, /* nor when it cannot be used itself */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dane_record records[4], chosen[DANE_RECORDS_MAX];
        size_t count = 0, n;
        for (; count < 4 && cases[i].set[count][0] != 9; count++)
            records[count] = (struct dane_record){cases[i].set[count][0], cases[i].set[count][1],
                                                  cases[i].set[count][2], slice_of(cases[i].data[count])};
        enum dane_demand demand = dane_choose(count, records, &n, chosen);
        if (demand != cases[i].demand || n != cases[i].chosen)
            fail_msg("case %zu: demand %d with %zu records", i, demand, n);
    }
}

static void a_record_with_a_whole_certificate_or_key_can_be_used(void **state) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *certificate = X509_new();
    unsigned char *der = NULL, *spki = NULL;
    (void)state;
    X509_set_pubkey(certificate, key);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 1000);
    X509_sign(certificate, key, NULL);
    int n = i2d_X509(certificate, &der), m = i2d_PUBKEY(key, &spki);
    assert_true(n > 0 && m > 0);
    assert_true(dane_record_is_usable(&(struct dane_record){2, 0, 0, slice_make(der, (size_t)n)}));
    assert_true(dane_record_is_usable(&(struct dane_record){3, 1, 0, slice_make(spki, (size_t)m)}));
    assert_false(dane_record_is_usable(
        &(struct dane_record){3, 1, 0, slice_make(der, (size_t)n)})); /* a certificate is no key */
    assert_false(dane_record_is_usable(&(struct dane_record){3, 0, 0, slice_make(der, (size_t)n - 1)})); /* cut */
    assert_false(dane_record_is_usable(&(struct dane_record){3, 0, 1, slice_make(der, (size_t)n)})); /* not a digest */
    OPENSSL_free(der);
    OPENSSL_free(spki);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void wire_records_are_parsed(void **state) {
    struct dane_record r;
    (void)state;
    assert_int_equal(dane_record_parse(SLICE("\3\1\1abc"), &r), 0);
    assert_true(r.usage == 3 && r.selector == 1 && r.matching == 1 && slice_is(r.data, "abc"));
    assert_int_equal(dane_record_parse(SLICE("\3\1\1"), &r), -1);
    assert_int_equal(dane_record_parse(SLICE(""), &r), -1);
}

static void the_names_a_trust_anchors_certificate_may_have(void **state) {
    static const struct {
        const char *base, *domain, *canonical, *names[3];
    } cases[] = {
        {"mx.example.com", "example.com", "example.com", {"mx.example.com", "example.com", NULL}},
        {"mx.example.com", "Alias.test", "example.com", {"mx.example.com", "Alias.test", "example.com"}},
        {"example.com", "example.com", "example.com", {"example.com", NULL, NULL}}, /* no MX: the domain is the host */
        {"mx.example.com", "example.com", "", {"mx.example.com", "example.com", NULL}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice names[DANE_NAMES_MAX];
        size_t n = dane_reference_names(slice_of(cases[i].base), slice_of(cases[i].domain),
                                        slice_of(cases[i].canonical), names);
        for (size_t k = 0; k < DANE_NAMES_MAX; k++) {
            if (!cases[i].names[k]) {
                assert_int_equal(n, k);
                break;
            }
            assert_true(k < n && slice_is(names[k], cases[i].names[k]));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sts_records_follow_the_grammar),
        cmocka_unit_test(sts_policies_are_read_or_refused),
        cmocka_unit_test(sts_patterns_name_hosts),
        cmocka_unit_test(tls_rpt_records_name_where_reports_go),
        cmocka_unit_test(which_tlsa_records_count),
        cmocka_unit_test(a_record_with_a_whole_certificate_or_key_can_be_used),
        cmocka_unit_test(wire_records_are_parsed),
        cmocka_unit_test(the_names_a_trust_anchors_certificate_may_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
