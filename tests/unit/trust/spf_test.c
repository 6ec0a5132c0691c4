/* SPF (RFC 7208) case by case: what was asked, what DNS says, what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/trust/spf.h"
#include "tests/unit/trust/scripted_dns.h"

/* The zone of appendix A, and one name a rule. */
static const struct scripted_record zone[] = {
    {"example.com", "MX", "10 mail-a.example.com"},
    {"example.com", "MX", "20 mail-b.example.com"},
    {"example.com", "A", "192.0.2.10"},
    {"example.com", "A", "192.0.2.11"},
    {"amy.example.com", "A", "192.0.2.65"},
    {"bob.example.com", "A", "192.0.2.66"},
    {"mail-a.example.com", "A", "192.0.2.129"},
    {"mail-b.example.com", "A", "192.0.2.130"},
    {"example.org", "MX", "10 mail-c.example.org"},
    {"mail-c.example.org", "A", "192.0.2.140"},
    {"10.2.0.192.in-addr.arpa", "PTR", "example.com"},
    {"65.2.0.192.in-addr.arpa", "PTR", "amy.example.com"},
    {"140.2.0.192.in-addr.arpa", "PTR", "mail-c.example.org"},
    {"all.test", "TXT", "v=spf1 +all"},
    {"a1.test", "TXT", "v=spf1 a:example.com -all"},
    {"a2.test", "TXT", "v=spf1 a:example.org -all"},
    {"mx1.test", "TXT", "v=spf1 mx:example.com -all"},
    {"mx2.test", "TXT", "v=spf1 mx:example.com mx:example.org -all"},
    {"mxcidr.test", "TXT", "v=spf1 mx:example.com/30 mx:example.org/30 -all"},
    {"ptr.test", "TXT", "v=spf1 ptr:example.com -all"},
    {"ip4.test", "TXT", "v=spf1 ip4:192.0.2.128/28 -all"},
    {"ip6.test", "TXT", "v=spf1 ip6:2001:db8::/32 -all"},
    {"soft.test", "TXT", "v=spf1 ~all"},
    {"neutral.test", "TXT", "v=spf1 ?all"},
    {"default.test", "TXT", "v=spf1 ip4:198.51.100.1"},
    {"empty.test", "TXT", "v=spf1"},
    {"none.test", "TXT", "something else"},
    {"v10.test", "TXT", "v=spf10 -all"},
    {"two.test", "TXT", "v=spf1 -all"},
    {"two.test", "TXT", "v=spf1 +all"},
    {"servfail.test", "TXT", "!"},
    {"include.test", "TXT", "v=spf1 include:ip4.test -all"},
    {"includesoft.test", "TXT", "v=spf1 include:soft.test ?all"},
    {"includenone.test", "TXT", "v=spf1 include:none.test -all"},
    {"includetemp.test", "TXT", "v=spf1 include:servfail.test -all"},
    {"includeperm.test", "TXT", "v=spf1 include:syntax.test -all"},
    {"redirect.test", "TXT", "v=spf1 redirect=ip4.test"},
    {"redirectnone.test", "TXT", "v=spf1 redirect=none.test"},
    {"redirectall.test", "TXT", "v=spf1 -all redirect=all.test"},
    {"redirecttwice.test", "TXT", "v=spf1 redirect=all.test redirect=ip4.test"},
    {"loop.test", "TXT", "v=spf1 include:loop.test -all"},
    {"syntax.test", "TXT", "v=spf1 ip4:192.0.2.300 -all"},
    {"unknown.test", "TXT", "v=spf1 foo:bar -all"},
    {"unknownafter.test", "TXT", "v=spf1 +all foo=bar"},
    {"cidr33.test", "TXT", "v=spf1 ip4:192.0.2.0/33 -all"},
    {"cidr00.test", "TXT", "v=spf1 ip4:192.0.2.0/024 -all"},
    {"noname.test", "TXT", "v=spf1 a: -all"},
    {"case.test", "TXT", "V=SPF1 IP4:192.0.2.128/28 -ALL"},
    {"exists.test", "TXT", "v=spf1 exists:%{ir}.%{v}._spf.exists.test -all"},
    {"129.2.0.192.in-addr._spf.exists.test", "A", "127.0.0.2"},
    {"void.test", "TXT", "v=spf1 a:v1.test a:v2.test a:v3.test ip4:192.0.2.129 -all"},
    {"void2.test", "TXT", "v=spf1 a:v1.test a:v2.test ip4:192.0.2.129 -all"},
    {"ten.test", "TXT",
     "v=spf1 a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com "
     "ip4:192.0.2.129 -all"},
    {"eleven.test", "TXT",
     "v=spf1 a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com "
     "a:example.com ip4:192.0.2.129 -all"},
    {"exp.test", "TXT", "v=spf1 -all exp=why.exp.test"},
    {"why.exp.test", "TXT", "%{i} is not one of %{d}'s servers, says %{r}"},
    {"atemp.test", "TXT", "v=spf1 a:servfail.test -all"},
    {"mail-a.example.com", "TXT", "v=spf1 a -all"},
};

static struct spf_verdict check(struct arena *arena, const char *ip, const char *helo, const char *sender) {
    struct scripted_dns script = {.records = zone, .count = sizeof zone / sizeof *zone, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct spf_query q = {.ip = slice_of(ip), .helo = slice_of(helo), .sender = slice_of(sender), .receiver = SLICE("mx.here.test"), .now = 1795513277};
    struct spf_verdict v;
    int rounds = 0;
    while (spf_check(arena, &q, &dns, &v) == TRUST_PENDING) assert_true(++rounds < 100);
    return v;
}

static void each_rule_gives_the_result_that_the_rfc_gives(void **state) {
    static const struct {
        const char *ip, *domain, *result, *why;
    } cases[] = {
        /* appendix A.1 */
        {"192.0.2.1", "all.test", "pass", "+all passes all"},
        {"192.0.2.10", "a1.test", "pass", "a: one of the addresses"},
        {"192.0.2.65", "a1.test", "fail", "a: another host"},
        {"192.0.2.10", "a2.test", "fail", "a: no address at all"},
        {"192.0.2.129", "mx1.test", "pass", "mx: the first host"},
        {"192.0.2.10", "mx1.test", "fail", "mx: the domain's own address is not its MX"},
        {"192.0.2.140", "mx2.test", "pass", "mx: the second domain"},
        {"192.0.2.131", "mxcidr.test", "pass", "mx with a prefix: 130/30"},
        {"192.0.2.143", "mxcidr.test", "pass", "mx with a prefix: 140/30"},
        {"192.0.2.144", "mxcidr.test", "fail", "just beyond it"},
        {"192.0.2.65", "ptr.test", "pass", "ptr: a validated name below the domain"},
        {"192.0.2.140", "ptr.test", "fail", "ptr: a validated name elsewhere"},
        {"10.0.0.4", "ptr.test", "fail", "ptr: no name"},
        {"192.0.2.129", "ip4.test", "pass", "ip4 within the prefix"},
        {"192.0.2.65", "ip4.test", "fail", "ip4 outside"},
        {"2001:db8::1", "ip6.test", "pass", "ip6 within the prefix"},
        {"2001:db9::1", "ip6.test", "fail", "ip6 outside"},
        {"2001:db8::1", "ip4.test", "fail", "an IPv6 client never matches ip4"},
        {"::ffff:192.0.2.129", "ip4.test", "pass", "section 5: a mapped address is IPv4"},
        /* results, section 2.6 */
        {"192.0.2.1", "soft.test", "softfail", "~"},
        {"192.0.2.1", "neutral.test", "neutral", "?"},
        {"192.0.2.1", "default.test", "neutral", "section 4.7: nothing matches"},
        {"192.0.2.1", "empty.test", "neutral", "section 4.7: an empty record"},
        {"192.0.2.1", "none.test", "none", "no record"},
        {"192.0.2.1", "v10.test", "none", "section 4.5: v=spf10 is another version"},
        {"192.0.2.1", "nowhere.test", "none", "no such domain"},
        {"192.0.2.1", "localhost", "none", "section 4.3: one label"},
        {"192.0.2.1", "two.test", "permerror", "section 4.5: two records"},
        {"192.0.2.1", "servfail.test", "temperror", "section 4.4: DNS failed"},
        {"192.0.2.1", "atemp.test", "temperror", "section 5: DNS failed in a mechanism"},
        /* include, section 5.2 */
        {"192.0.2.129", "include.test", "pass", "the included record passes"},
        {"192.0.2.1", "include.test", "fail", "the included record fails: no match"},
        {"192.0.2.1", "includesoft.test", "neutral", "softfail inside is no match"},
        {"192.0.2.1", "includenone.test", "permerror", "none inside is a permerror"},
        {"192.0.2.1", "includetemp.test", "temperror", "temperror inside"},
        {"192.0.2.1", "includeperm.test", "permerror", "permerror inside"},
        {"192.0.2.1", "loop.test", "permerror", "an endless include ends with the limit"},
        /* redirect, section 6.1 */
        {"192.0.2.129", "redirect.test", "pass", "redirect"},
        {"192.0.2.1", "redirectnone.test", "permerror", "redirect to none"},
        {"192.0.2.1", "redirectall.test", "fail", "all is there: redirect is not looked at"},
        {"192.0.2.1", "redirecttwice.test", "permerror", "section 6: once"},
        /* syntax, section 4.6 */
        {"192.0.2.1", "syntax.test", "permerror", "a bad address"},
        {"192.0.2.1", "unknown.test", "permerror", "an unknown mechanism"},
        {"192.0.2.1", "unknownafter.test", "pass", "section 6: unknown modifiers are passed over"},
        {"192.0.2.1", "cidr33.test", "permerror", "a prefix beyond 32"},
        {"192.0.2.1", "cidr00.test", "permerror", "a prefix with a leading zero"},
        {"192.0.2.1", "noname.test", "permerror", "an empty domain"},
        {"192.0.2.129", "case.test", "pass", "section 4.6.1: names in any case"},
        /* exists and macros, sections 5.7 and 7 */
        {"192.0.2.129", "exists.test", "pass", "exists with macros"},
        {"192.0.2.130", "exists.test", "fail", "exists: no such name"},
        /* limits, section 4.6.4 */
        {"192.0.2.129", "void2.test", "pass", "two void lookups are allowed"},
        {"192.0.2.129", "void.test", "permerror", "three are not"},
        {"192.0.2.129", "ten.test", "pass", "ten terms that ask DNS"},
        {"192.0.2.129", "eleven.test", "permerror", "eleven"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        char sender[100];
        snprintf(sender, sizeof sender, "strong-bad@%s", cases[i].domain);
        struct spf_verdict v = check(arena, cases[i].ip, "helo.test", sender);
        if (strcmp(spf_result_text(v.result), cases[i].result) != 0)
            print_error("%s for %s: %s instead of %s (%s): %s\n", cases[i].ip, cases[i].domain, spf_result_text(v.result), cases[i].result, cases[i].why,
                        v.reason);
        assert_string_equal(spf_result_text(v.result), cases[i].result);
        assert_true(*v.reason);
        arena_destroy(arena);
    }
}

static void an_empty_sender_stands_for_postmaster_at_the_helo_name(void **state) {
    struct arena *arena = arena_create();
    (void)state;
    assert_int_equal(check(arena, "192.0.2.129", "mail-a.example.com", "").result, SPF_PASS); /* §2.4 */
    assert_int_equal(check(arena, "192.0.2.130", "mail-a.example.com", "").result, SPF_FAIL);
    arena_destroy(arena);
}

static void a_failure_is_explained_in_the_domains_words(void **state) {
    struct arena *arena = arena_create();
    (void)state;
    struct spf_verdict v = check(arena, "192.0.2.1", "helo.test", "a@exp.test");
    assert_string_equal(v.explanation, "192.0.2.1 is not one of exp.test's servers, says mx.here.test"); /* §6.2 */
    arena_destroy(arena);
}

static void macros_expand_as_in_section_7_4(void **state) {
    static const struct {
        const char *spec, *expanded; /* NULL: malformed */
    } cases[] = {
        {"%{s}", "strong-bad@email.example.com"},
        {"%{o}", "email.example.com"},
        {"%{d}", "email.example.com"},
        {"%{d4}", "email.example.com"},
        {"%{d3}", "email.example.com"},
        {"%{d2}", "example.com"},
        {"%{d1}", "com"},
        {"%{dr}", "com.example.email"},
        {"%{d2r}", "example.email"},
        {"%{l}", "strong-bad"},
        {"%{l-}", "strong.bad"},
        {"%{lr}", "strong-bad"},
        {"%{lr-}", "bad.strong"},
        {"%{l1r-}", "strong"},
        {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
        {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
        {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
        {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"},
        {"%%.x", "%.x"},
        {"%-.x", "%20.x"},
        {"%", NULL},
        {"%{", NULL},
        {"%{x}", NULL},
        {"%{d0}", NULL},
        {"%{c}", NULL}, /* only in exp */
        {"%{d!}", NULL},
        {"%a", NULL},
    };
    struct arena *arena = arena_create();
    (void)state;
    struct spf_query q = {.ip = SLICE("192.0.2.3"), .helo = SLICE("h.test")};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice out;
        int failed = spf_expand(arena, slice_of(cases[i].spec), &q, SLICE("strong-bad@email.example.com"), SLICE("email.example.com"), SLICE(""), false, &out);
        assert_int_equal(failed, cases[i].expanded ? 0 : -1);
        if (cases[i].expanded) assert_string_equal(arena_copy(arena, out), cases[i].expanded);
    }
    struct slice out;
    q.ip = SLICE("2001:db8::cb01");
    assert_int_equal(
        spf_expand(arena, SLICE("%{ir}.%{v}._spf.%{d2}"), &q, SLICE("strong-bad@email.example.com"), SLICE("email.example.com"), SLICE(""), false, &out), 0);
    assert_string_equal(arena_copy(arena, out), "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com");
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_gives_the_result_that_the_rfc_gives),
        cmocka_unit_test(an_empty_sender_stands_for_postmaster_at_the_helo_name),
        cmocka_unit_test(a_failure_is_explained_in_the_domains_words),
        cmocka_unit_test(macros_expand_as_in_section_7_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
