/* What the tables of spf_cases_test.c cannot say: what a verdict tells beside its result, the
 * macros alone, and how DNS is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/trust/spf/spf.h"
#include "tests/unit/trust/scripted_dns.h"

#define TEN                                                                                                            \
    "ip4:203.0.113.1 ip4:203.0.113.2 ip4:203.0.113.3 ip4:203.0.113.4 ip4:203.0.113.5 ip4:203.0.113.6 ip4:203.0.113.7 " \
    "ip4:203.0.113.8 ip4:203.0.113.9 "                                                                                 \
    "ip4:203.0.113.10 "
#define LOUD "v=spf1 " TEN TEN TEN TEN TEN TEN "?all"

static const struct scripted_record zone[] = {
    {"plain.test", "TXT", "v=spf1 ip4:192.0.2.1 a:host.test -all"},
    {"host.test", "A", "192.0.2.7"},
    {"redirect.test", "TXT", "v=spf1 redirect=plain.test"},
    {"include.test", "TXT", "v=spf1 include:plain.test ~all"},
    {"default.test", "TXT", "v=spf1 ip4:192.0.2.1"},
    {"broken.test", "TXT", "v=spf1 nonsense:\x1b[31m"},
    {"three.test", "TXT", "v=spf1 include:one.test include:two.test a:host.test mx:plain.test ?all"},
    {"one.test", "TXT", "v=spf1 -all"},
    {"two.test", "TXT", "v=spf1 -all"},
    {"loud.test", "TXT", "v=spf1 include:loud1.test include:loud1.test include:loud1.test include:loud1.test -all"},
    {"loud1.test", "TXT", LOUD},
};

static struct spf_verdict check_with(struct arena *arena, struct spf_query q, int *rounds, int *questions) {
    struct scripted_dns script = {.records = zone, .count = sizeof zone / sizeof *zone, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct spf_verdict v;
    *rounds = 1;
    while (spf_check(arena, &q, &dns, &v) == TRUST_PENDING) assert_true(++*rounds < 100);
    *questions = script.questions;
    return v;
}

static struct spf_verdict check(struct arena *arena, const char *ip, const char *sender) {
    int rounds, questions;
    return check_with(
        arena,
        (struct spf_query){.ip = slice_of(ip), .helo = SLICE("helo.test"), .sender = slice_of(sender), .explain = true},
        &rounds, &questions);
}

static bool has_step(const struct spf_verdict *v, const char *words) {
    for (size_t i = 0; i < v->step_count; i++)
        if (strstr(v->steps[i], words)) return true;
    return false;
}

static void a_verdict_says_what_decided_and_in_whose_record(void **state) {
    static const struct {
        const char *ip, *sender, *result, *domain, *record_domain, *mechanism, *reason;
    } cases[] = {
        {"192.0.2.1", "a@plain.test", "pass", "plain.test", "plain.test", "ip4:192.0.2.1",
         "ip4:192.0.2.1 of plain.test matches"},
        {"192.0.2.7", "a@plain.test", "pass", "plain.test", "plain.test", "a:host.test",
         "a:host.test of plain.test matches"},
        {"192.0.2.2", "a@plain.test", "fail", "plain.test", "plain.test", "-all", "-all of plain.test matches"},
        /* the identity stays the sender's, which is what DMARC aligns with */
        {"192.0.2.1", "a@redirect.test", "pass", "redirect.test", "plain.test", "ip4:192.0.2.1",
         "ip4:192.0.2.1 of plain.test matches"},
        {"192.0.2.1", "a@include.test", "pass", "include.test", "include.test", "include:plain.test",
         "include:plain.test of include.test matches"},
        {"192.0.2.2", "a@include.test", "softfail", "include.test", "include.test", "~all",
         "~all of include.test matches"},
        {"192.0.2.2", "a@default.test", "neutral", "default.test", "default.test", "default",
         "nothing in the record of default.test matches"},
        {"192.0.2.2", "a@broken.test", "permerror", "broken.test", "", "",
         "the record of broken.test has a syntax error: there is no such mechanism: nonsense:\\x1b[31m"},
        {"192.0.2.2", "a@nobody.test", "none", "nobody.test", "", "", "nobody.test has no SPF record"},
        {"192.0.2.2", "a@\xff\n.test", "none", "\\xff\\x0a.test", "", "",
         "\\xff\\x0a.test is not the name of a mail domain"},
        {"192.0.2.256", "a@plain.test", "none", "plain.test", "", "", "the client has no IP address"},
        {"", "a@plain.test", "none", "plain.test", "", "", "the client has no IP address"},
        {"fe80::1%eth0", "a@plain.test", "none", "plain.test", "", "", "the client has no IP address"},
    };
    struct arena *arena = arena_create();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spf_verdict v = check(arena, cases[i].ip, cases[i].sender);
        assert_string_equal(spf_result_text(v.result), cases[i].result);
        assert_string_equal(v.domain, cases[i].domain);
        assert_string_equal(v.record_domain, cases[i].record_domain);
        assert_string_equal(v.mechanism, cases[i].mechanism);
        assert_string_equal(v.reason, cases[i].reason);
        assert_string_equal(v.scope, "mfrom");
    }
    arena_destroy(arena);
}

static void the_scope_is_the_identity_that_was_checked(void **state) {
    struct arena *arena = arena_create();
    int rounds, questions;
    (void)state;
    struct spf_query q = {.ip = SLICE("192.0.2.1"), .helo = SLICE("plain.test"), .sender = SLICE("a@include.test")};
    assert_string_equal(check_with(arena, q, &rounds, &questions).scope, "mfrom");
    q.helo_identity = true; /* §2.3 */
    struct spf_verdict v = check_with(arena, q, &rounds, &questions);
    assert_string_equal(v.scope, "helo");
    assert_string_equal(v.domain, "plain.test");
    q.helo_identity = false;
    q.sender = SLICE(""); /* §2.4 */
    v = check_with(arena, q, &rounds, &questions);
    assert_string_equal(v.scope, "helo");
    assert_string_equal(v.domain, "plain.test");
    arena_destroy(arena);
}

static void the_steps_tell_records_terms_addresses_and_macros(void **state) {
    struct arena *arena = arena_create();
    (void)state;
    struct spf_verdict v = check(arena, "192.0.2.7", "a@include.test");
    assert_true(has_step(&v, "may 192.0.2.7 send for include.test"));
    assert_true(has_step(&v, "include.test TXT: v=spf1 include:plain.test ~all"));
    assert_true(has_step(&v, "plain.test TXT: v=spf1 ip4:192.0.2.1 a:host.test -all"));
    assert_true(has_step(&v, "plain.test: ip4:192.0.2.1 does not match"));
    assert_true(has_step(&v, "host.test has 192.0.2.7"));
    assert_true(
        has_step(&v, "plain.test: a:host.test matches (2 of 10 terms that may ask DNS, 0 of 2 lookups in vain)"));
    assert_true(has_step(&v, "include.test: include:plain.test matches"));
    arena_destroy(arena);
}

static void the_steps_are_bounded_and_printable(void **state) {
    struct arena *arena = arena_create();
    (void)state;
    struct spf_verdict v = check(arena, "192.0.2.7", "a@loud.test");
    assert_int_equal(v.step_count, SPF_STEPS_MAX);
    assert_true(has_step(&v, "left out"));
    v = check(arena, "192.0.2.7", "\x1b[2J@broken.test");
    for (size_t i = 0; i < v.step_count; i++)
        for (const char *p = v.steps[i]; *p; p++) assert_true(*p >= ' ' && *p < 0x7f);
    arena_destroy(arena);
}

static void what_can_be_asked_at_once_is(void **state) {
    struct arena *arena = arena_create();
    int rounds, questions;
    (void)state;
    struct spf_query q = {.ip = SLICE("192.0.2.2"), .helo = SLICE("helo.test"), .sender = SLICE("a@three.test")};
    assert_int_equal(check_with(arena, q, &rounds, &questions).result, SPF_NEUTRAL);
    assert_int_equal(rounds, 3); /* the record; two includes, a and mx together; all known */
    assert_int_equal(questions, 5);
    arena_destroy(arena);
}

/* A client with a name of which DNS knows no address in time. */
static const struct trust_answer *slow_lookup(void *ctx, struct slice name, int type) {
    static const struct trust_record record = {.data = {"v=spf1 ptr:x.test exists:%{p}.x.test -all", 41}},
                                     names[1] = {{.data = {"n.x.test", 8}}};
    static const struct trust_answer text = {.status = TRUST_DNS_OK, .count = 1, .records = &record},
                                     ptr = {.status = TRUST_DNS_OK, .count = 1, .records = names},
                                     failed = {.status = TRUST_DNS_FAILED},
                                     late = {.status = TRUST_DNS_FAILED, .late = true},
                                     nothing = {.status = TRUST_DNS_NODATA};
    (void)name;
    return type == TRUST_TXT                  ? &text
           : type == TRUST_PTR                ? &ptr
           : slice_is(name, "unknown.x.test") ? &nothing
           : *(bool *)ctx                     ? &late
                                              : &failed;
}

static void a_failure_that_is_passed_over_is_a_temperror_when_the_time_is_up(void **state) {
    struct arena *arena = arena_create();
    bool late = false;
    struct trust_dns dns = {slow_lookup, &late};
    struct spf_query q = {.ip = SLICE("192.0.2.1"), .sender = SLICE("a@x.test")};
    struct spf_verdict v;
    (void)state;
    assert_int_equal(spf_check(arena, &q, &dns, &v), TRUST_DONE);
    assert_int_equal(v.result, SPF_FAIL); /* §5.5 */
    late = true;
    assert_int_equal(spf_check(arena, &q, &dns, &v), TRUST_DONE);
    assert_int_equal(v.result, SPF_TEMPERROR); /* §4.6.4 */
    assert_non_null(strstr(v.reason, "4.6.4"));
    arena_destroy(arena);
}

struct long_record {
    struct trust_record record;
    struct trust_answer text;
};

static const struct trust_answer *long_lookup(void *ctx, struct slice name, int type) {
    static const struct trust_answer nothing = {.status = TRUST_DNS_NXDOMAIN};
    (void)name;
    return type == TRUST_TXT ? &((struct long_record *)ctx)->text : &nothing;
}

static void the_longest_records_take_little_memory(void **state) {
    static const char *const terms[] = {" a", " x=", " +ip4:1.2.3.4/8", " exists:%{l1r-}.%{d}", " %{l1r-}", "  "};
    struct buf local = {0};
    (void)state;
    for (int i = 0; i < 300; i++) buf_add_str(&local, "a-");
    buf_add_str(&local, "@x.test");
    for (size_t k = 0; k < sizeof terms / sizeof *terms; k++)
        for (int one_term = 0; one_term < 2; one_term++) {
            struct arena *arena = arena_create();
            struct buf text = {0};
            struct long_record r = {.text = {.status = TRUST_DNS_OK, .count = 1}};
            struct trust_dns dns = {long_lookup, &r};
            struct spf_query q = {.ip = SLICE("192.0.2.1"), .sender = buf_slice(&local), .explain = true};
            struct spf_verdict v;
            buf_add_str(&text, one_term ? "v=spf1 exists:" : "v=spf1");
            while (text.n < 65000) buf_add_str(&text, terms[k] + one_term);
            buf_add_str(&text, one_term ? ".test" : "");
            r.record.data = buf_slice(&text);
            r.text.records = &r.record;
            assert_int_equal(spf_check(arena, &q, &dns, &v), TRUST_DONE);
            assert_true(arena_used(arena) < 1000000);
            buf_free(&text);
            arena_destroy(arena);
        }
    buf_free(&local);
}

static const unsigned char ip4[] = {192, 0, 2, 3};

static struct spf_macros macros_of_section_7_4(void) {
    return (struct spf_macros){.local = SLICE("strong-bad"),
                               .origin = SLICE("email.example.com"),
                               .domain = SLICE("email.example.com"),
                               .helo = SLICE("h.test"),
                               .ip = ip4,
                               .now = 1795513277};
}

static void macros_expand_as_in_section_7_4(void **state) {
    static const struct {
        const char *spec;
        bool text;
        const char *expanded; /* NULL: malformed */
    } cases[] = {
        {"%{s}", false, "strong-bad@email.example.com"},
        {"%{o}", false, "email.example.com"},
        {"%{d}", false, "email.example.com"},
        {"%{d4}", false, "email.example.com"},
        {"%{d3}", false, "email.example.com"},
        {"%{d2}", false, "example.com"},
        {"%{d1}", false, "com"},
        {"%{dr}", false, "com.example.email"},
        {"%{d2r}", false, "example.email"},
        {"%{l}", false, "strong-bad"},
        {"%{l-}", false, "strong.bad"},
        {"%{lr}", false, "strong-bad"},
        {"%{lr-}", false, "bad.strong"},
        {"%{l1r-}", false, "strong"},
        {"%{ir}.%{v}._spf.%{d2}", false, "3.2.0.192.in-addr._spf.example.com"},
        {"%{lr-}.lp._spf.%{d2}", false, "bad.strong.lp._spf.example.com"},
        {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", false, "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
        {"%{d2}.trusted-domains.example.net", false, "example.com.trusted-domains.example.net"},
        {"%%.x", false, "%.x"},
        {"%-.x", false, "%20.x"},
        {"%", false, NULL},
        {"%{", false, NULL},
        {"%{x}", false, NULL},
        {"%{d0}", false, NULL},
        {"%{c}", false, NULL}, /* only in exp */
        {"%{d!}", false, NULL},
        {"%a", false, NULL},
        {"%{c} %{r} %{t}", true, "192.0.2.3 unknown 1795513277"},
        {"%{p}", true, "unknown"},
        {"a b.", true, "a b."},
        {"a b", false, NULL},
        {"", false, ""},
        {"", true, ""},
        {"x.", false, "x"},
    };
    struct arena *arena = arena_create();
    struct spf_macros m = macros_of_section_7_4();
    struct slice out;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(spf_expand(arena, slice_of(cases[i].spec), &m, cases[i].text, &out),
                         cases[i].expanded ? SPF_EXPANDED : SPF_MALFORMED);
        if (cases[i].expanded) assert_string_equal(arena_copy(arena, out), cases[i].expanded);
    }
    static const unsigned char ip6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xcb, 0x01};
    m.ip = ip6;
    m.v6 = true;
    assert_int_equal(spf_expand(arena, SLICE("%{ir}.%{v}._spf.%{d2}"), &m, false, &out), SPF_EXPANDED);
    assert_string_equal(arena_copy(arena, out),
                        "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com");
    assert_int_equal(spf_expand(arena, SLICE("%{c}"), &m, true, &out), SPF_EXPANDED);
    assert_string_equal(arena_copy(arena, out), "2001:db8::cb01");
    arena_destroy(arena);
}

static void a_local_part_that_is_not_ascii_stands_in_no_name(void **state) {
    struct arena *arena = arena_create();
    struct spf_macros m = macros_of_section_7_4();
    struct slice out;
    (void)state;
    m.local = SLICE("\xc3\xa9");
    assert_int_equal(spf_expand(arena, SLICE("%{l}.x"), &m, false, &out), SPF_UNMATCHABLE); /* RFC 8616 §4 */
    assert_int_equal(spf_expand(arena, SLICE("%{S}.x"), &m, false, &out), SPF_UNMATCHABLE);
    assert_int_equal(spf_expand(arena, SLICE("%{o}.x"), &m, false, &out), SPF_EXPANDED);
    assert_int_equal(spf_expand(arena, SLICE("%{l}"), &m, true, &out), SPF_EXPANDED);
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verdict_says_what_decided_and_in_whose_record),
        cmocka_unit_test(the_scope_is_the_identity_that_was_checked),
        cmocka_unit_test(the_steps_tell_records_terms_addresses_and_macros),
        cmocka_unit_test(the_steps_are_bounded_and_printable),
        cmocka_unit_test(what_can_be_asked_at_once_is),
        cmocka_unit_test(a_failure_that_is_passed_over_is_a_temperror_when_the_time_is_up),
        cmocka_unit_test(the_longest_records_take_little_memory),
        cmocka_unit_test(macros_expand_as_in_section_7_4),
        cmocka_unit_test(a_local_part_that_is_not_ascii_stands_in_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
