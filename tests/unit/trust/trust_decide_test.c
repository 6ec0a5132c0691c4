/* What follows from the proofs: whose mail it is, dispositions, codes and words, the operator's
 * overrides, trusted sealers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "libcommon/trust/verdict/trust_private.h"

/* Author domains of a header: each with a space behind, then "malformed", "too-many", "fields=N"
 * unless it is one. */
static void authors_are_all_that_from_names(void **state) {
    static const struct {
        const char *header, *is;
    } cases[] = {
        {"From: a@x.test\r\n", "x.test "},
        {"From: A <a@X.Test>\r\n", "x.test "},
        {"from : a@x.test\r\n", "x.test "},
        {"From: a@x.test.\r\n", "x.test "},
        {"From: \"b@y.test\" <a@x.test>\r\n", "x.test "},        /* a display name is no author (RFC 9989 §11.4) */
        {"From: a@x.test (b@y.test)\r\n", "x.test "},            /* nor is a comment */
        {"From: b@y.test <a@x.test>\r\n", "y.test x.test "},     /* which of the two is shown nobody knows */
        {"From: a@x.test, b@x.test\r\n", "x.test "},             /* two authors of one domain */
        {"From: a@x.test, b@y.test\r\n", "x.test y.test "},      /* §11.5 */
        {"From: Us: a@x.test, b@y.test;\r\n", "x.test y.test "}, /* a group (RFC 6854) */
        {"From: Nobody:;\r\n", ""},
        {"From: a@b@x.test\r\n", "b x.test "},
        {"From: <@relay.test:a@x.test>\r\n", "x.test "},
        {"From: \"a b\"@x.test\r\n", "x.test "},
        {"From: a@(c)x(c).(c)test(c)\r\n", "x.test "},
        {"From: a@\r\n x.test\r\n", "x.test "},
        {"From: J\xc3\xb6rg <j\xc3\xb6rg@b\xc3\xbc"
         "cher.test>\r\n",
         "xn--bcher-kva.test "}, /* §5.3.1: U-labels become A-labels */
        {"From: a@xn--bcher-kva.test, b@b\xc3\xbc"
         "cher.test\r\n",
         "xn--bcher-kva.test "},
        {"From: a@[192.0.2.1]\r\n", "malformed"},
        {"From: a@x..test\r\n", "malformed"},
        {"From: a@\xff.test\r\n", "malformed"},
        {"From: a@x.test, b@[192.0.2.1]\r\n", "x.test malformed"},
        {"From: a\r\n", ""},
        {"From:\r\n", ""},
        {"From: <>\r\n", ""},
        {"Subject: none\r\n", "fields=0"},
        {"From: a@x.test\r\nFrom: b@y.test\r\n", "x.test y.test fields=2"},
        {"From: a@x.test\r\nnonsense\r\nFrom: b@y.test\r\n",
         "x.test y.test fields=2"}, /* others read on behind what is no field */
        {"From: a@a.test, a@b.test, a@c.test, a@d.test, a@e.test\r\n", "a.test b.test c.test d.test e.test "},
        {"From: a@a.test, a@b.test, a@c.test, a@d.test, a@e.test, a@f.test\r\n",
         "a.test b.test c.test d.test e.test too-many"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct trust_authors a;
        struct buf got = {0};
        trust_find_authors(arena, slice_of(cases[i].header), &a);
        for (size_t k = 0; k < a.count; k++) buf_printf(&got, "%.*s ", SLICE_FMT(a.domains[k]));
        if (a.malformed) buf_add_str(&got, "malformed");
        if (a.too_many) buf_add_str(&got, "too-many");
        if (a.fields != 1) buf_printf(&got, "fields=%zu", a.fields);
        if (strcmp(buf_str(&got), cases[i].is) != 0) print_error("header: %s", cases[i].header);
        assert_string_equal(buf_str(&got), cases[i].is);
        buf_free(&got);
        arena_destroy(arena);
    }
}

/* A From field of thousands of addresses is not read to its end, and not let through for it. */
static void endless_from_fields_are_refused(void **state) {
    struct arena *arena = arena_create();
    struct trust_authors a;
    struct buf header = {0};
    (void)state;
    buf_add_str(&header, "From: ");
    for (int i = 0; i < 2000; i++) buf_add_str(&header, "a@x.test, ");
    buf_add_str(&header, "a@bank.test\r\n");
    trust_find_authors(arena, buf_slice(&header), &a);
    assert_true(a.too_many);
    buf_free(&header);
    arena_destroy(arena);
}

/* The chain of the tests: list.test saw the original pass, relay.test sealed on. */
#define AAR(i, results) "ARC-Authentication-Results: i=" i "; mx." results "\r\n"
#define SEAL_OVER(i, domain, h)                                                                                        \
    "ARC-Seal: i=" i "; a=rsa-sha256; cv=pass; d=" domain "; s=s" i "; b=x\r\n"                                        \
    "ARC-Message-Signature: i=" i "; a=rsa-sha256; d=" domain "; s=s" i "; h=" h "; bh=x; b=x\r\n"
#define SEAL(i, domain) SEAL_OVER(i, domain, "Subject:From")
#define CHAIN_BEGIN "From: a@x.test\r\n"

struct situation {
    const char *what, *dmarc, *sealers, *overrides, *spf_setting,
        *iprev_setting; /* dmarc: "result policy [relief] [uncertain]" */
    const char *facts;  /* "spf=fail spf_domain=… dkim=1 iprev=fail arc=2 ip=…" */
    const char *header;
    const char *is; /* disposition, dmarc disposition, code; override types */
};

static const struct situation situations[] = {
    {"pass", "pass reject", "", "", "", "", "", "", "accept none "},
    {"no record", "none none", "", "", "", "", "", "", "accept none "},
    {"fail, p=none", "fail none", "", "", "", "", "", "", "accept none "},
    {"fail, p=quarantine", "fail quarantine", "", "", "", "", "", "", "quarantine quarantine "},
    {"fail, p=reject, nothing was signed", "fail reject", "", "", "", "", "spf=fail", "",
     "reject reject 5.7.1"}, /* RFC 9989 §7.2 */
    {"fail, p=reject, SPF and DKIM failed", "fail reject", "", "", "", "", "spf=fail dkim=1", "",
     "reject reject 5.7.26"}, /* RFC 7372 §3.4 */
    {"t=y", "fail reject policy_test_mode", "", "", "", "", "", "", "quarantine quarantine  policy_test_mode"},
    {"pct", "fail quarantine sampled_out", "", "", "", "", "", "", "accept none  sampled_out"},
    {"not known, and it matters", "temperror reject uncertain", "", "", "", "", "", "", "tempfail none 4.7.0"},
    {"not known, and it does not", "temperror none", "", "", "", "", "", "", "accept none "},
    {"no author", "permerror none", "", "", "", "", "", "", "accept none "},
    /* SPF and reverse DNS are marked, unless the operator says otherwise */
    {"SPF fail is marked", "none none", "", "", "", "", "spf=fail", "", "accept none "},
    {"SPF fail is refused on request", "none none", "", "", "reject", "", "spf=fail", "", "reject none 5.7.23"},
    {"DMARC says more than SPF", "fail none", "", "", "reject", "", "spf=fail", "", "accept none "},
    {"SPF softfail is never refused", "none none", "", "", "reject", "", "spf=softfail", "", "accept none "},
    {"SPF temperror is never refused", "none none", "", "", "reject", "", "spf=temperror", "", "accept none "},
    {"no name", "none none", "", "", "", "reject", "iprev=fail", "", "reject none 5.7.25"},
    {"no PTR record at all", "none none", "", "", "", "reject", "iprev=permerror", "", "reject none 5.7.25"},
    {"no name, but the author is proven", "pass reject", "", "", "", "reject", "iprev=fail", "", "accept none "},
    {"the name is not known", "none none", "", "", "", "reject", "iprev=temperror", "", "accept none "},
    /* overrides */
    {"by author", "fail reject", "", "from=x.test accept", "", "", "", "", "accept none  local_policy"},
    {"by another author", "fail reject", "", "from=y.test accept", "", "", "", "", "reject reject 5.7.1"},
    {"an author's name is meant exactly", "fail reject", "", "from=test accept", "", "", "", "", "reject reject 5.7.1"},
    {"unless a dot is before it", "fail reject", "", "from=.test accept", "", "", "", "", "accept none  local_policy"},
    {"which means the name itself too", "fail reject", "", "from=.x.test accept", "", "", "", "",
     "accept none  local_policy"},
    {"by network", "fail reject", "", "ip=192.0.2.0/24 accept", "", "", "ip=192.0.2.77", "",
     "accept none  local_policy"},
    {"beside the network", "fail reject", "", "ip=192.0.2.0/25 accept", "", "", "ip=192.0.2.128", "",
     "reject reject 5.7.1"},
    {"IPv6", "fail reject", "", "ip=2001:db8::/33 accept", "", "", "ip=2001:db8:7fff::1", "",
     "accept none  local_policy"},
    {"beside it", "fail reject", "", "ip=2001:db8::/33 accept", "", "", "ip=2001:db8:8000::1", "",
     "reject reject 5.7.1"},
    {"IPv4 in IPv6", "fail reject", "", "ip=192.0.2.0/24 accept", "", "", "ip=::ffff:192.0.2.1", "",
     "accept none  local_policy"},
    {"by a domain for which SPF passed", "fail reject", "", "spf=bulk.test accept", "", "",
     "spf=pass spf_domain=bulk.test", "", "accept none  local_policy"},
    {"for which it did not", "fail reject", "", "spf=bulk.test accept", "", "", "spf=softfail spf_domain=bulk.test", "",
     "reject reject 5.7.1"},
    {"by sealer", "fail reject", "", "sealer=list.test accept", "", "", "arc=1", "", "accept none  local_policy"},
    {"every condition must hold", "fail reject", "", "from=x.test ip=198.51.100.0/24 accept", "", "", "ip=192.0.2.1",
     "", "reject reject 5.7.1"},
    {"the first row that fits", "fail none", "", "from=y.test reject; from=x.test quarantine; from=x.test reject", "",
     "", "", "", "quarantine quarantine  local_policy"},
    {"stricter than the record", "fail none", "", "from=x.test reject", "", "", "", "",
     "reject reject 5.7.1 local_policy"},
    {"held for a person", "fail reject", "", "from=x.test hold", "", "", "", "", "hold quarantine  local_policy"},
    {"what is held is not refused for SPF or reverse DNS", "fail none", "", "from=x.test hold", "reject", "reject",
     "spf=fail iprev=fail", "", "hold quarantine  local_policy"},
    {"what would be held is deferred", "temperror reject uncertain", "", "from=x.test hold", "", "", "", "",
     "tempfail none 4.7.0"},
    {"none: as p=none", "fail reject", "", "from=x.test none", "", "", "", "", "accept none  local_policy"},
    {"what passes is not overridden", "pass none", "", "from=x.test reject", "", "", "", "", "accept none "},
    {"what would come in anyway is not deferred", "temperror none uncertain", "", "from=x.test accept", "", "", "", "",
     "accept none  local_policy"},
    /* ARC (RFC 8617 §7.2) */
    {"a trusted sealer saw dmarc=pass", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL("1", "list.test"),
     "accept none  local_policy"},
    {"its message signature covers the body alone", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL_OVER("1", "list.test", ""),
     "reject reject 5.7.1"},
    {"an untrusted one", "fail reject", "other.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL("1", "list.test"), "reject reject 5.7.1"},
    {"nobody is trusted", "fail reject", "", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL("1", "list.test"), "reject reject 5.7.1"},
    {"a chain that fails", "fail reject", "list.test", "", "", "", "arc=-1",
     CHAIN_BEGIN AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL("1", "list.test"), "reject reject 5.7.1"},
    {"it saw dmarc=fail", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dmarc=fail header.from=x.test; spf=fail smtp.mailfrom=x.test")
         SEAL("1", "list.test"),
     "reject reject 5.7.1"},
    {"it saw another author pass", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dmarc=pass header.from=y.test") SEAL("1", "list.test"), "reject reject 5.7.1"},
    {"it saw the author's DKIM pass", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dkim=pass (good) header.i=@x.test") SEAL("1", "list.test"),
     "accept none  local_policy"},
    {"it saw another's DKIM pass", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dkim=pass header.d=y.test") SEAL("1", "list.test"), "reject reject 5.7.1"},
    {"it saw the author's SPF pass", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; spf=pass smtp.mailfrom=a@x.test") SEAL("1", "list.test"),
     "accept none  local_policy"},
    {"words in a comment are no result", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; spf=none (; dmarc=pass header.from=x.test)") SEAL("1", "list.test"),
     "reject reject 5.7.1"},
    {"words in a quoted string are none either", "fail reject", "list.test", "", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; spf=none smtp.mailfrom=\"; dmarc=pass header.from=x.test\"")
         SEAL("1", "list.test"),
     "reject reject 5.7.1"},
    {"two trusted sealers, the first saw it", "fail reject", "list.test,relay.test", "", "", "", "arc=2",
     CHAIN_BEGIN AAR("2", "relay.test; arc=pass; dmarc=fail header.from=x.test") SEAL("2", "relay.test")
         AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL("1", "list.test"),
     "accept none  local_policy"},
    {"a stranger sealed since", "fail reject", "list.test", "", "", "", "arc=2",
     CHAIN_BEGIN AAR("2", "relay.test; arc=pass; dmarc=fail header.from=x.test") SEAL("2", "relay.test")
         AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL("1", "list.test"),
     "reject reject 5.7.1"},
    {"a stranger sealed before, whose words are not believed", "fail reject", "relay.test", "", "", "", "arc=2",
     CHAIN_BEGIN AAR("2", "relay.test; arc=pass; dmarc=fail header.from=x.test") SEAL("2", "relay.test")
         AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL("1", "list.test"),
     "reject reject 5.7.1"},
    {"the operator's row comes before the chain", "fail reject", "list.test", "from=x.test quarantine", "", "", "arc=1",
     CHAIN_BEGIN AAR("1", "list.test; dmarc=pass header.from=x.test") SEAL("1", "list.test"),
     "quarantine quarantine  local_policy"},
};

/* The value of "name=" in facts; empty when it is not there. */
static struct slice fact(const char *facts, const char *name) {
    struct slice rest = slice_of(facts), one;
    while (rest.n) {
        if (!slice_cut(&rest, ' ', &one)) one = rest, rest.n = 0;
        if (slice_starts(one, slice_of(name)) && one.p[strlen(name)] == '=') return slice_skip(one, strlen(name) + 1);
    }
    return SLICE("");
}

static void set_dmarc(const char *text, struct dmarc_verdict *d) {
    *d = (struct dmarc_verdict){.reason = "so it is",
                                .relief = "",
                                .from_domain = "x.test",
                                .record_domain = "x.test",
                                .organizational_domain = ""};
    for (int r = DMARC_NONE; r <= DMARC_PERMERROR; r++)
        if (slice_starts(slice_of(text), slice_of(dmarc_result_text((enum dmarc_result)r))))
            d->result = (enum dmarc_result)r;
    for (int p = DMARC_POLICY_NONE; p <= DMARC_POLICY_REJECT; p++)
        if (strstr(strchr(text, ' '), dmarc_policy_text((enum dmarc_policy)p))) d->policy = (enum dmarc_policy)p;
    d->uncertain = strstr(text, "uncertain") != NULL;
    d->applied = d->policy;
    if (strstr(text, "policy_test_mode")) d->relief = "policy_test_mode";
    if (strstr(text, "sampled_out")) d->relief = "sampled_out";
    if (*d->relief) d->applied = d->policy == DMARC_POLICY_REJECT ? DMARC_POLICY_QUARANTINE : DMARC_POLICY_NONE;
}

static void dispositions_follow_from_the_proofs(void **state) {
    int wrong_count = 0;
    (void)state;
    for (size_t i = 0; i < sizeof situations / sizeof *situations; i++) {
        const struct situation *t = &situations[i];
        struct arena *arena = arena_create();
        const char *wrong;
        struct trust_settings settings = {
            .sealers = t->sealers, .overrides = t->overrides, .spf = t->spf_setting, .iprev = t->iprev_setting};
        struct slice spf = fact(t->facts, "spf"), arc = fact(t->facts, "arc"), iprev = fact(t->facts, "iprev");
        struct trust_input in = {.client_ip = fact(t->facts, "ip"),
                                 .header = slice_of(t->header),
                                 .policy = trust_policy_parse(arena, &settings, &wrong)};
        struct trust_result r = {
            .enhanced = "", .reason = "", .spf.domain = arena_copy(arena, fact(t->facts, "spf_domain"))};
        struct buf got = {0};
        assert_non_null(in.policy);
        set_dmarc(t->dmarc, &r.dmarc);
        r.spf.result = slice_is(spf, "pass")        ? SPF_PASS
                       : slice_is(spf, "fail")      ? SPF_FAIL
                       : slice_is(spf, "softfail")  ? SPF_SOFTFAIL
                       : slice_is(spf, "temperror") ? SPF_TEMPERROR
                                                    : SPF_NONE;
        r.dkim_count = fact(t->facts, "dkim").n;
        r.iprev = slice_is(iprev, "fail")        ? IPREV_FAIL
                  : slice_is(iprev, "permerror") ? IPREV_PERMERROR
                  : slice_is(iprev, "temperror") ? IPREV_TEMPERROR
                                                 : IPREV_PASS;
        r.arc = (struct arc_verdict){.result = slice_is(arc, "-1") ? ARC_FAIL
                                               : arc.n             ? ARC_PASS
                                                                   : ARC_NONE,
                                     .sealer = slice_is(arc, "2") ? "relay.test" : "list.test"};
        r.arc.sets = slice_is(arc, "2") ? 2 : arc.n ? 1 : 0;
        trust_decide(arena, &in, &r);
        buf_printf(&got, "%s %s %s", trust_disposition_text(r.disposition), dmarc_policy_text(r.dmarc_disposition),
                   r.enhanced);
        for (size_t k = 0; k < r.override_count; k++) buf_printf(&got, " %s", r.overrides[k].type);
        if (strcmp(buf_str(&got), t->is) != 0) {
            print_error("%s:\n    %s\n    and not: %s\n", t->what, buf_str(&got), t->is);
            wrong_count++;
        }
        bool told = r.disposition == TRUST_REJECT || r.disposition == TRUST_TEMPFAIL || r.disposition == TRUST_HOLD;
        assert_true(told == (*r.reason != 0)); /* words for every refusal and hold, and for these alone */
        for (const char *c = r.reason; *c; c++) assert_true(*c >= ' ' && *c < 0x7f);
        buf_free(&got);
        arena_destroy(arena);
    }
    assert_int_equal(wrong_count, 0);
}

static void the_override_of_a_chain_is_told_as_the_rfc_says(void **state) {
    /* RFC 8617 §7.2.2 */
    struct arena *arena = arena_create();
    const char *wrong;
    struct trust_settings settings = {.sealers = "d1.example, D2.EXAMPLE"};
    struct trust_input in = {
        .header = SLICE(AAR("1", "d1.example; dmarc=pass header.from=x.test; arc=none smtp.remote-ip=\"2001:db8::1a\"")
                            SEAL("1", "d1.example") AAR("2", "d2.example; arc=pass; dmarc=fail header.from=x.test")
                                SEAL("2", "d2.example")),
        .policy = trust_policy_parse(arena, &settings, &wrong)};
    struct trust_result r = {.arc = {.result = ARC_PASS, .sets = 2, .sealer = "d2.example"}};
    (void)state;
    set_dmarc("fail reject", &r.dmarc);
    assert_string_equal(
        trust_chain_vouches(arena, &in, &r),
        "arc=pass as[2].d=d2.example as[2].s=s2 as[1].d=d1.example as[1].s=s1 remote-ip[1]=2001:db8::1a");
    arena_destroy(arena);
}

static void settings_that_make_no_sense_are_refused(void **state) {
    static const struct {
        struct trust_settings settings;
        const char *wrong; /* NULL: they are good */
    } cases[] = {
        {{NULL, NULL, NULL, NULL, NULL}, NULL},
        {{"", "", "", "", ""}, NULL},
        {{"psl", " a.test , b.test,", " ; from=a.test accept ;; ", "MARK", "reject"}, NULL},
        {{"list", "", "", "", ""}, "POSTBUS_DMARC_DISCOVERY"},
        {{"", "", "", "no", ""}, "POSTBUS_SPF_FAIL"},
        {{"", "", "", "", "no"}, "POSTBUS_IPREV_FAIL"},
        {{"", "a..b", "", "", ""}, "POSTBUS_ARC_TRUSTED"},
        {{"", ".a.test", "", "", ""}, "POSTBUS_ARC_TRUSTED"},
        {{"", "", "accept", "", ""}, "no condition"},
        {{"", "", "from=a.test", "", ""}, "no action"},
        {{"", "", "from=a.test accept reject", "", ""}, "last word"},
        {{"", "", "from=a..b accept", "", ""}, "no domain name"},
        {{"", "", "to=a.test accept", "", ""}, "a condition is"},
        {{"", "", "ip=192.0.2.0/33 accept", "", ""}, "ip="},
        {{"", "", "ip=2001:db8::/129 accept", "", ""}, "ip="},
        {{"", "", "ip=x accept", "", ""}, "ip="},
        {{"", "", "from=a.test allow", "", ""}, "a row ends with"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        const char *wrong;
        const struct trust_policy *p = trust_policy_parse(arena, &cases[i].settings, &wrong);
        assert_true((p == NULL) == (cases[i].wrong != NULL));
        if (cases[i].wrong) assert_non_null(strstr(wrong, cases[i].wrong));
        arena_destroy(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authors_are_all_that_from_names),
        cmocka_unit_test(endless_from_fields_are_refused),
        cmocka_unit_test(dispositions_follow_from_the_proofs),
        cmocka_unit_test(the_override_of_a_chain_is_told_as_the_rfc_says),
        cmocka_unit_test(settings_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
