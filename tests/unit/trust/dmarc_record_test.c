/* DMARC records: every tag of RFC 9989 §4.7 and what remains of RFC 7489's, the syntax of §4.8, and
 * what a malformed part does to the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "libcommon/trust/dmarc/dmarc.h"

/* A record as one line: "p sp np adkim aspf t pct psd fo rua|ruf"; "-" for what is not there;
 * "none" alone: no record; "unusable". */
static void describe(struct slice txt, char out[512]) {
    struct dmarc_record r;
    if (dmarc_record_parse(txt, &r) != 0) {
        snprintf(out, 512, "no record");
        return;
    }
    snprintf(out, 512, "%s%s %s %s %c%c t=%c pct=%d psd=%c fo=%.*s rua=%.*s ruf=%.*s", r.usable ? "" : "unusable ",
             dmarc_policy_text(r.p), r.has_sp ? dmarc_policy_text(r.sp) : "-", r.has_np ? dmarc_policy_text(r.np) : "-",
             r.strict_dkim ? 's' : 'r', r.strict_spf ? 's' : 'r', r.testing ? 'y' : 'n', r.pct, r.psd, SLICE_FMT(r.fo),
             SLICE_FMT(r.rua.p ? r.rua : SLICE("-")), SLICE_FMT(r.ruf.p ? r.ruf : SLICE("-")));
}

#define REST "rr t=n pct=100 psd=u fo=0 rua=- ruf=-"
#define REJECT "reject - - " REST

static const struct {
    const char *txt, *is;
} cases[] = {
    /* version (§4.7 v): first, case-sensitive, or it is no record */
    {"v=DMARC1; p=reject", REJECT},
    {"v=DMARC1;p=reject", REJECT},
    {"v=DMARC1; p=reject;", REJECT},
    {"v = DMARC1 ; p = reject ;", REJECT},
    {"V=DMARC1; P=REJECT", REJECT},      /* ABNF literals have no case (RFC 5234 §2.3) … */
    {"v=dmarc1; p=reject", "no record"}, /* … but DMARC1, which is %s (§4.8) */
    {"v=DMARC1\t;\tp=reject", REJECT},
    {" v=DMARC1; p=reject", "no record"}, /* the grammar begins with v */
    {"p=reject; v=DMARC1", "no record"},
    {"v=DMARC2; p=reject", "no record"},
    {"v=DMARC1 p=reject", "no record"}, /* the value is "DMARC1 p=reject" */
    {"v=DMARC10; p=reject", "no record"},
    {"v=DMARC; p=reject", "no record"},
    {"vv=DMARC1; p=reject", "no record"},
    {"v=spf1 -all", "no record"},
    {"", "no record"},
    {";", "no record"},
    {"v", "no record"},
    {"=DMARC1; p=none", "no record"},
    {"v=DMARC1", "unusable none - - " REST}, /* no p, no rua: §4.10.1 */
    {"v=DMARC1;", "unusable none - - " REST},
    /* p, sp, np */
    {"v=DMARC1; p=none", "none - - " REST},
    {"v=DMARC1; p=quarantine", "quarantine - - " REST},
    {"v=DMARC1; p=Reject", REJECT},
    {"v=DMARC1; p=reject; sp=none; np=quarantine", "reject none quarantine " REST},
    {"v=DMARC1; np=quarantine; sp=none; p=reject",
     "reject none quarantine " REST}, /* p need not be second any more (§4.7) */
    {"v=DMARC1; p=nonsense", "unusable none - - " REST},
    {"v=DMARC1; p=", "unusable none - - " REST},
    {"v=DMARC1; p=reject; sp=nonsense", "unusable none - - " REST},
    {"v=DMARC1; p=reject; np=nonsense", "unusable none - - " REST},
    {"v=DMARC1; p=nonsense; sp=reject; rua=mailto:a@b.example",
     "none - - rr t=n pct=100 psd=u fo=0 rua=mailto:a@b.example ruf=-"}, /* §4.10.1: as p=none */
    {"v=DMARC1; rua=mailto:a@b.example", "none - - rr t=n pct=100 psd=u fo=0 rua=mailto:a@b.example ruf=-"},
    {"v=DMARC1; p=reject; sp=x; rua=mailto:a@b.example",
     "none - - rr t=n pct=100 psd=u fo=0 rua=mailto:a@b.example ruf=-"},
    {"v=DMARC1; p=nonsense; rua=nobody",
     "unusable none - - rr t=n pct=100 psd=u fo=0 rua=nobody ruf=-"}, /* no valid URI */
    {"v=DMARC1; p=nonsense; rua=mailto:", "unusable none - - rr t=n pct=100 psd=u fo=0 rua=mailto: ruf=-"},
    {"v=DMARC1; p=nonsense; rua=x, mailto:a@b.example",
     "none - - rr t=n pct=100 psd=u fo=0 rua=x, mailto:a@b.example ruf=-"},
    {"v=DMARC1; p=none; p=reject", "unusable none - - " REST}, /* twice: malformed (RFC 6376 §3.2), so its default */
    {"v=DMARC1; p=reject; adkim=s; adkim=s", REJECT},
    {"v=DMARC1; p=reject; sp=none; sp=none", "unusable none - - " REST},
    /* alignment */
    {"v=DMARC1; p=reject; adkim=s", "reject - - sr t=n pct=100 psd=u fo=0 rua=- ruf=-"},
    {"v=DMARC1; p=reject; aspf=S", "reject - - rs t=n pct=100 psd=u fo=0 rua=- ruf=-"},
    {"v=DMARC1; p=reject; adkim=r; aspf=r", REJECT},
    {"v=DMARC1; p=reject; adkim=strict", REJECT}, /* malformed: the default */
    {"v=DMARC1; p=reject; aspf=", REJECT},
    /* t, pct */
    {"v=DMARC1; p=reject; t=y", "reject - - rr t=y pct=100 psd=u fo=0 rua=- ruf=-"},
    {"v=DMARC1; p=reject; t=n", REJECT},
    {"v=DMARC1; p=reject; t=yes", REJECT},
    {"v=DMARC1; p=reject; pct=0", "reject - - rr t=n pct=0 psd=u fo=0 rua=- ruf=-"},
    {"v=DMARC1; p=reject; pct=42", "reject - - rr t=n pct=42 psd=u fo=0 rua=- ruf=-"},
    {"v=DMARC1; p=reject; pct=101", REJECT},
    {"v=DMARC1; p=reject; pct=-1", REJECT},
    {"v=DMARC1; p=reject; pct=50%", REJECT},
    {"v=DMARC1; p=reject; pct=0; t=n", REJECT}, /* a record of RFC 9989: pct is not known there */
    {"v=DMARC1; p=reject; t=y; pct=10", "reject - - rr t=y pct=100 psd=u fo=0 rua=- ruf=-"},
    /* psd */
    {"v=DMARC1; p=reject; psd=y", "reject - - rr t=n pct=100 psd=y fo=0 rua=- ruf=-"},
    {"v=DMARC1; p=reject; psd=N", "reject - - rr t=n pct=100 psd=n fo=0 rua=- ruf=-"},
    {"v=DMARC1; p=reject; psd=u", REJECT},
    {"v=DMARC1; p=reject; psd=x", REJECT},
    {"v=DMARC1; psd=y", "unusable none - - rr t=n pct=100 psd=y fo=0 rua=- ruf=-"},
    /* fo (§4.8 dmarc-fo) */
    {"v=DMARC1; p=reject; fo=1", "reject - - rr t=n pct=100 psd=u fo=1 rua=- ruf=-"},
    {"v=DMARC1; p=reject; fo=1:d:s", "reject - - rr t=n pct=100 psd=u fo=1:d:s rua=- ruf=-"},
    {"v=DMARC1; p=reject; fo=D : S", "reject - - rr t=n pct=100 psd=u fo=D : S rua=- ruf=-"},
    {"v=DMARC1; p=reject; fo=s:0", "reject - - rr t=n pct=100 psd=u fo=s:0 rua=- ruf=-"},
    {"v=DMARC1; p=reject; fo=0:1", REJECT}, /* mutually exclusive */
    {"v=DMARC1; p=reject; fo=d:d", REJECT},
    {"v=DMARC1; p=reject; fo=x", REJECT},
    {"v=DMARC1; p=reject; fo=1:", REJECT},
    {"v=DMARC1; p=reject; fo=10", REJECT},
    /* addresses */
    {"v=DMARC1; p=none; rua=mailto:a@x.example!10m,mailto:b@y.example; ruf=mailto:c@z.example",
     "none - - rr t=n pct=100 psd=u fo=0 rua=mailto:a@x.example!10m,mailto:b@y.example ruf=mailto:c@z.example"},
    /* unknown tags and syntax errors in the remainder (§4.8) */
    {"v=DMARC1; p=reject; unknown=1; x-y=2; rf=afrf; ri=3600", REJECT},
    {"v=DMARC1; p=reject; nonsense", REJECT},
    {"v=DMARC1; nonsense; p=reject", REJECT},
    {"v=DMARC1;; ;p=reject", REJECT},
    {"v=DMARC1; =x; p=reject", REJECT},
    {"v=DMARC1; p=reject; adkim=\xc3\xa9", REJECT},
    {"v=DMARC1; p=reject; v=DMARC1", REJECT},
    {"v=DMARC1; p=reject, sp=none", "unusable none - - " REST}, /* a comma is no separator */
};

static void records_read_as_the_rfc_says(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[512];
        describe(slice_of(cases[i].txt), got);
        if (strcmp(got, cases[i].is) != 0) print_error("record: %s\n", cases[i].txt);
        assert_string_equal(got, cases[i].is);
    }
}

static void ri_is_kept_for_who_still_reads_it(void **state) {
    struct dmarc_record r;
    (void)state;
    assert_int_equal(dmarc_record_parse(SLICE("v=DMARC1; p=none"), &r), 0);
    assert_int_equal(r.ri, 86400);
    dmarc_record_parse(SLICE("v=DMARC1; p=none; ri=3600"), &r);
    assert_int_equal(r.ri, 3600);
    dmarc_record_parse(SLICE("v=DMARC1; p=none; ri=99999999999"), &r);
    assert_int_equal(r.ri, 86400);
}

static void a_record_without_end_is_none(void **state) {
    static char text[70000];
    struct dmarc_record r;
    (void)state;
    memset(text, ';', sizeof text);
    memcpy(text, "v=DMARC1; p=reject;", 19);
    assert_int_equal(dmarc_record_parse(slice_make(text, sizeof text), &r), -1);
    assert_int_equal(dmarc_record_parse(slice_make(text, DMARC_RECORD_MAX), &r), 0);
}

static void reporting_uris_are_read_one_by_one(void **state) {
    static const struct {
        const char *list, *is; /* is: each URI with its limit, behind each other */
    } lists[] = {
        {"mailto:a@x.example", "mailto:a@x.example 0|"},
        {"mailto:a@x.example!10m", "mailto:a@x.example 10485760|"}, /* RFC 7489 §6.4 */
        {"mailto:a@x.example!50", "mailto:a@x.example 50|"},
        {"mailto:a@x.example!1K , MAILTO:b@y.example!2G", "mailto:a@x.example 1024|MAILTO:b@y.example 2147483648|"},
        {"mailto:a@x.example!1t", "mailto:a@x.example 1099511627776|"},
        {"https://x.example/r?a=1", "https://x.example/r?a=1 0|"},
        {"mailto:a@x.example?subject=%21", "mailto:a@x.example?subject=%21 0|"},
        {"mailto:a@x.example!10x", ""},
        {"mailto:a@x.example!", ""},
        {"mailto:a@x.example!99999999999999999999t", ""},
        {"mailto:x", ""},
        {"mailto:@x.example", ""},
        {"mailto:a@", ""},
        {"a@x.example", ""},
        {"1x:y", ""},
        {"x y:z", ""},
        {",,mailto:a@x.example,,", "mailto:a@x.example 0|"},
        {"mailto:a@x.example!a!5k", ""}, /* "!" must be encoded in an URI */
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct slice list = slice_of(lists[i].list);
        struct dmarc_uri uri;
        struct buf got = {0};
        while (dmarc_uri_next(&list, &uri))
            buf_printf(&got, "%.*s %llu|", SLICE_FMT(uri.uri), (unsigned long long)uri.size_limit);
        if (strcmp(buf_str(&got), lists[i].is) != 0) print_error("list: %s\n", lists[i].list);
        assert_string_equal(buf_str(&got), lists[i].is);
        buf_free(&got);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_read_as_the_rfc_says),
        cmocka_unit_test(ri_is_kept_for_who_still_reads_it),
        cmocka_unit_test(a_record_without_end_is_none),
        cmocka_unit_test(reporting_uris_are_read_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
