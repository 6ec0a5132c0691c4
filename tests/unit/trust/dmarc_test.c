/* DMARC's judgement: policy discovery, alignment, policies, testing, and what a DNS that does not
 * answer leaves unknown (RFC 9989 §4.4, §4.7, §4.10, §5.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "libcommon/trust/dmarc/dmarc.h"
#include "tests/unit/trust/scripted_dns.h"

#define RECORD(name, text) {"_dmarc." name, "TXT", text}
enum { RECORDS_MAX = 5 };

struct test_case {
    const char *what;              /* begins with "psl:" where the public suffix list is asked, with
                                      "twice:" where From is there twice */
    const char *from, *spf, *dkim; /* "pass domain"; several signatures: separated by "," */
    const char *is;                /* result, policy, then what else there is: applied=, spf, dkim,
                                      record=, uncertain, relief */
    struct scripted_record records[RECORDS_MAX];
};

#define EXAMPLE RECORD("example.com", "v=DMARC1; p=reject")
#define EXAMPLE_STRICT RECORD("example.com", "v=DMARC1; p=reject; adkim=s; aspf=s")
#define NOTHING "none none"

static const struct test_case cases[] = {
    /* App. B.1.1, B.1.2: the identifiers of the RFC's examples */
    {"B.1.1 example 1: SPF in strict alignment",
     "example.com",
     "pass example.com",
     "",
     "pass reject spf",
     {EXAMPLE_STRICT}},
    {"B.1.1 example 2: SPF in relaxed alignment",
     "example.com",
     "pass child.example.com",
     "",
     "pass reject spf",
     {EXAMPLE}},
    {"B.1.1 example 2, strict", "example.com", "pass child.example.com", "", "fail reject", {EXAMPLE_STRICT}},
    {"B.1.1 example 3: no SPF alignment",
     "child.example.com",
     "pass example.net",
     "",
     "fail reject record=example.com",
     {EXAMPLE}},
    {"B.1.2: DKIM in strict alignment",
     "example.com",
     "none",
     "pass example.com",
     "pass reject dkim",
     {EXAMPLE_STRICT}},
    {"B.1.2: DKIM in relaxed alignment",
     "child.example.com",
     "none",
     "pass example.com",
     "pass reject dkim record=example.com",
     {EXAMPLE}},
    {"B.1.2: no DKIM alignment",
     "child.example.com",
     "none",
     "pass sample.net",
     "fail reject record=example.com",
     {EXAMPLE}},
    {"§4.4 table 1: siblings",
     "news.example.com",
     "none",
     "pass foo.example.com",
     "pass reject dkim record=example.com",
     {EXAMPLE}},
    {"§4.4 table 1: another suffix",
     "news.example.com",
     "none",
     "pass foo.example.net",
     "fail reject record=example.com",
     {EXAMPLE}},
    {"names have no case (RFC 4343)", "example.com", "pass EXAMPLE.com", "", "pass reject spf", {EXAMPLE_STRICT}},
    {"a U-label is its A-label",
     "xn--bcher-kva.example",
     "none",
     "pass bücher.example",
     "pass reject dkim",
     {RECORD("xn--bcher-kva.example", "v=DMARC1; p=reject; adkim=s")}},
    {"what ends alike is not below", "example.com", "none", "pass badexample.com", "fail reject", {EXAMPLE}},
    {"what is no name is not aligned", "example.com", "pass", "pass a..example.com", "fail reject", {EXAMPLE}},
    /* §4.4.1: any signature; only those that pass */
    {"one aligned signature of several",
     "example.com",
     "fail example.com",
     "fail example.com,pass other.test,pass example.com",
     "pass reject dkim",
     {EXAMPLE}},
    {"an aligned signature that fails",
     "example.com",
     "fail example.com",
     "fail example.com",
     "fail reject",
     {EXAMPLE}},
    {"a signature that is a permerror", "example.com", "none", "permerror example.com", "fail reject", {EXAMPLE}},
    {"both", "example.com", "pass example.com", "pass example.com", "pass reject spf dkim", {EXAMPLE}},
    {"softfail is no pass", "example.com", "softfail example.com", "", "fail reject", {EXAMPLE}},
    {"neutral is no pass", "example.com", "neutral example.com", "", "fail reject", {EXAMPLE}},
    {"SPF permerror is no pass", "example.com", "permerror example.com", "", "fail reject", {EXAMPLE}},
    /* App. B.4 */
    {"B.4.1",
     "example.com",
     "pass example.com",
     "pass signing.example.com",
     "pass none spf dkim",
     {RECORD("example.com", "v=DMARC1; p=none"), RECORD("signing.example.com", "v=DMARC1; p=reject")}},
    {"B.4.2",
     "a.b.c.d.e.f.g.h.i.j.k.example.com",
     "pass example.com",
     "pass signing.example.com",
     "pass none spf dkim record=example.com",
     {RECORD("example.com", "v=DMARC1; p=none"), RECORD("signing.example.com", "v=DMARC1; p=reject")}},
    {"B.4.3: SPF is aligned",
     "giant.bank.example",
     "pass mail.giant.bank.example",
     "pass mail.mega.bank.example",
     "pass quarantine spf",
     {RECORD("giant.bank.example", "v=DMARC1; p=quarantine"), RECORD("bank.example", "v=DMARC1; p=reject; psd=y")}},
    {"B.4.3: DKIM alone is not",
     "giant.bank.example",
     "none",
     "pass mail.mega.bank.example",
     "fail quarantine",
     {RECORD("giant.bank.example", "v=DMARC1; p=quarantine"), RECORD("bank.example", "v=DMARC1; p=reject; psd=y")}},
    /* §11.8's attack: psd=n keeps the department's own */
    {"§11.8 without psd",
     "evil.example.com",
     "none",
     "pass mail.example.com",
     "pass reject dkim record=example.com",
     {RECORD("mail.example.com", "v=DMARC1; p=reject"), EXAMPLE}},
    {"§11.8 with psd=n",
     "evil.example.com",
     "none",
     "pass mail.example.com",
     "fail reject record=example.com",
     {RECORD("mail.example.com", "v=DMARC1; p=reject; psd=n"), EXAMPLE}},
    {"psd=n at the author",
     "dep.example.com",
     "none",
     "pass example.com",
     "fail none",
     {RECORD("dep.example.com", "v=DMARC1; p=none; psd=n"), EXAMPLE}},
    /* §4.10.1: where the record is found */
    {"no record", "example.com", "pass example.com", "pass example.com", NOTHING, {{0}}},
    {"the author's own before all others",
     "a.example.com",
     "none",
     "",
     "fail quarantine",
     {RECORD("a.example.com", "v=DMARC1; p=quarantine"), EXAMPLE}},
    {"the organizational domain's", "a.b.example.com", "none", "", "fail reject record=example.com", {EXAMPLE}},
    {"not that of a domain between",
     "a.b.example.com",
     "none",
     "",
     "fail reject record=example.com",
     {RECORD("b.example.com", "v=DMARC1; p=none"), EXAMPLE}},
    {"the public suffix domain's, when there is no other",
     "example.bank",
     "none",
     "",
     "fail reject record=bank",
     {RECORD("bank", "v=DMARC1; p=none; sp=reject; psd=y")}},
    {"not the public suffix domain's when the organization has one",
     "x.example.bank",
     "none",
     "",
     "fail none record=example.bank",
     {RECORD("example.bank", "v=DMARC1; p=none"), RECORD("bank", "v=DMARC1; p=reject; psd=y")}},
    {"mail of the public suffix domain itself",
     "bank",
     "none",
     "",
     "fail reject",
     {RECORD("bank", "v=DMARC1; p=reject; sp=none; psd=y")}},
    {"below a suffix, two organizations do not align",
     "a.bank",
     "none",
     "pass b.bank",
     "fail reject record=bank",
     {RECORD("bank", "v=DMARC1; p=reject; psd=y")}},
    {"several records at the author: discarded, and the walk goes on (§4.10)",
     "a.example.com",
     "none",
     "",
     "fail reject record=example.com",
     {RECORD("a.example.com", "v=DMARC1; p=none"), RECORD("a.example.com", "v=DMARC1; p=none"), EXAMPLE}},
    {"several at the organizational domain: none",
     "example.com",
     "none",
     "",
     NOTHING,
     {EXAMPLE, RECORD("example.com", "v=DMARC1; p=none")}},
    {"beside other TXT records",
     "example.com",
     "none",
     "",
     "fail reject",
     {RECORD("example.com", "hello"), EXAMPLE, RECORD("example.com", "v=spf1 -all")}},
    {"v=DMARC1 is not first", "example.com", "none", "", NOTHING, {RECORD("example.com", "p=reject; v=DMARC1")}},
    {"no valid policy, no rua",
     "example.com",
     "none",
     "",
     "none none record=example.com",
     {RECORD("example.com", "v=DMARC1; p=x")}},
    {"no valid policy, rua: as p=none",
     "example.com",
     "none",
     "",
     "fail none",
     {RECORD("example.com", "v=DMARC1; p=x; sp=reject; rua=mailto:a@example.com")}},
    {"an unusable record of the author's hides its parent's",
     "a.example.com",
     "none",
     "",
     "none none record=a.example.com",
     {RECORD("a.example.com", "v=DMARC1; p=x"), EXAMPLE}},
    /* §4.7: sp and np */
    {"sp for a subdomain",
     "a.example.com",
     "none",
     "",
     "fail none record=example.com",
     {RECORD("example.com", "v=DMARC1; p=reject; sp=none"), {"a.example.com", "A", "192.0.2.1"}}},
    {"sp is not for the domain itself",
     "example.com",
     "none",
     "",
     "fail reject",
     {RECORD("example.com", "v=DMARC1; p=reject; sp=none")}},
    {"sp of the author's own record is not for the author",
     "a.example.com",
     "none",
     "",
     "fail reject",
     {RECORD("a.example.com", "v=DMARC1; p=reject; sp=none")}},
    {"np for a name that does not exist",
     "nx.example.com",
     "none",
     "",
     "fail reject record=example.com",
     {RECORD("example.com", "v=DMARC1; p=none; sp=quarantine; np=reject")}},
    {"np is not for one that exists",
     "a.example.com",
     "none",
     "",
     "fail quarantine record=example.com",
     {RECORD("example.com", "v=DMARC1; p=none; sp=quarantine; np=reject"), {"a.example.com", "A", "192.0.2.1"}}},
    {"a name exists that has records of any type (App. A.4)",
     "a.example.com",
     "none",
     "",
     "fail none record=example.com",
     {RECORD("example.com", "v=DMARC1; p=none; np=reject"), {"a.example.com", "TXT", "here"}}},
    {"a name exists that has something below it (RFC 8020)",
     "a.example.com",
     "none",
     "",
     "fail none record=example.com",
     {RECORD("example.com", "v=DMARC1; p=none; np=reject"), RECORD("a.example.com", "no record of DMARC")}},
    {"without np: sp",
     "nx.example.com",
     "none",
     "",
     "fail quarantine record=example.com",
     {RECORD("example.com", "v=DMARC1; p=none; sp=quarantine")}},
    {"without np and sp: p", "nx.example.com", "none", "", "fail reject record=example.com", {EXAMPLE}},
    {"np of a public suffix domain",
     "nx.bank",
     "none",
     "",
     "fail reject record=bank",
     {RECORD("bank", "v=DMARC1; p=none; np=reject; psd=y")}},
    {"whether it exists is not known, and matters",
     "nx.example.com",
     "none",
     "",
     "temperror reject record=example.com uncertain",
     {RECORD("example.com", "v=DMARC1; p=none; np=reject"), {"nx.example.com", "A", "!"}}},
    {"whether it exists is not known, and does not matter",
     "nx.example.com",
     "none",
     "",
     "fail reject record=example.com",
     {RECORD("example.com", "v=DMARC1; p=reject; np=reject"), {"nx.example.com", "A", "!"}}},
    /* t (§4.7), pct (RFC 7489 §6.6.4; sampled is 50 here) */
    {"t=y: reject becomes quarantine",
     "example.com",
     "none",
     "",
     "fail reject applied=quarantine policy_test_mode",
     {RECORD("example.com", "v=DMARC1; p=reject; t=y")}},
    {"t=y: quarantine becomes none",
     "example.com",
     "none",
     "",
     "fail quarantine applied=none policy_test_mode",
     {RECORD("example.com", "v=DMARC1; p=quarantine; t=y")}},
    {"t=y: none stays", "example.com", "none", "", "fail none", {RECORD("example.com", "v=DMARC1; p=none; t=y")}},
    {"t=y for subdomains too",
     "a.example.com",
     "none",
     "",
     "fail reject applied=quarantine policy_test_mode record=example.com",
     {RECORD("example.com", "v=DMARC1; p=none; sp=reject; t=y")}},
    {"pct=50: this message is not of them",
     "example.com",
     "none",
     "",
     "fail reject applied=quarantine sampled_out",
     {RECORD("example.com", "v=DMARC1; p=reject; pct=50")}},
    {"pct=51: it is", "example.com", "none", "", "fail reject", {RECORD("example.com", "v=DMARC1; p=reject; pct=51")}},
    {"pct=0",
     "example.com",
     "none",
     "",
     "fail quarantine applied=none sampled_out",
     {RECORD("example.com", "v=DMARC1; p=quarantine; pct=0")}},
    {"pct beside t is unknown (RFC 9989)",
     "example.com",
     "none",
     "",
     "fail reject",
     {RECORD("example.com", "v=DMARC1; p=reject; pct=0; t=n")}},
    /* §5.3.6: what is not known */
    {"no answer for the record", "example.com", "none", "", "temperror none uncertain", {RECORD("example.com", "!")}},
    {"no answer for the record, but what passed would pass with any",
     "example.com",
     "none",
     "pass example.com",
     "temperror none dkim",
     {RECORD("example.com", "!")}},
    {"no answer for the record; a relaxed pass may not count",
     "example.com",
     "pass a.example.com",
     "",
     "temperror none uncertain",
     {RECORD("example.com", "!")}},
    {"no answer above, where the record would be",
     "a.example.com",
     "none",
     "",
     "temperror none uncertain",
     {RECORD("example.com", "!")}},
    {"no answer above a record of the author's: it is not needed",
     "example.com",
     "none",
     "pass example.com",
     "pass reject dkim",
     {EXAMPLE, RECORD("com", "!")}},
    {"no answer above, and nothing that could align",
     "example.com",
     "pass other.test",
     "",
     "fail reject",
     {EXAMPLE, RECORD("com", "!")}},
    {"no answer above, and something that could",
     "example.com",
     "pass a.example.com",
     "",
     "temperror reject uncertain",
     {EXAMPLE, RECORD("com", "!")}},
    {"strict alignment needs no walk",
     "example.com",
     "pass a.example.com",
     "",
     "fail reject",
     {EXAMPLE_STRICT, RECORD("com", "!")}},
    {"an aligned signature's key is not known",
     "example.com",
     "fail example.com",
     "temperror example.com",
     "temperror reject uncertain",
     {EXAMPLE}},
    {"a foreign signature's key is not known: no matter",
     "example.com",
     "fail example.com",
     "temperror other.test",
     "fail reject",
     {EXAMPLE}},
    {"aligned SPF is not known", "example.com", "temperror example.com", "", "temperror reject uncertain", {EXAMPLE}},
    {"foreign SPF is not known: no matter", "example.com", "temperror other.test", "", "fail reject", {EXAMPLE}},
    {"SPF is not known, DKIM passed",
     "example.com",
     "temperror example.com",
     "pass example.com",
     "pass reject dkim",
     {EXAMPLE}},
    {"nothing hangs on it with p=none",
     "example.com",
     "temperror example.com",
     "",
     "temperror none",
     {RECORD("example.com", "v=DMARC1; p=none")}},
    {"nor with t=y and quarantine",
     "example.com",
     "temperror example.com",
     "",
     "temperror quarantine applied=none policy_test_mode",
     {RECORD("example.com", "v=DMARC1; p=quarantine; t=y")}},
    /* §4.4: a message that is not of RFC 5322 */
    {"twice: nothing aligns", "example.com", "pass example.com", "pass example.com", "fail reject", {EXAMPLE}},
    /* RFC 7489's discovery, where it is asked for */
    {"psl: the registrable domain",
     "a.b.example.co.uk",
     "none",
     "pass x.example.co.uk",
     "pass reject dkim record=example.co.uk",
     {RECORD("example.co.uk", "v=DMARC1; p=reject")}},
    {"psl: a record above it is not looked for",
     "example.co.uk",
     "none",
     "",
     NOTHING,
     {RECORD("co.uk", "v=DMARC1; p=reject; psd=y")}},
    {"psl: psd=n says nothing",
     "x.dep.example.com",
     "none",
     "pass example.com",
     "pass reject dkim record=example.com",
     {RECORD("dep.example.com", "v=DMARC1; p=reject; psd=n"), EXAMPLE}},
    {"psl: several records end discovery (RFC 7489 §6.6.3 step 5)",
     "a.example.com",
     "none",
     "",
     NOTHING,
     {RECORD("a.example.com", "v=DMARC1; p=none"), RECORD("a.example.com", "v=DMARC1; p=none"), EXAMPLE}},
    {"walk: two names of one list entry are strangers without a record",
     "a.example.com",
     "none",
     "pass example.com",
     "fail reject",
     {RECORD("a.example.com", "v=DMARC1; p=reject")}},
    {"psl: they are not",
     "a.example.com",
     "none",
     "pass example.com",
     "pass reject dkim",
     {RECORD("a.example.com", "v=DMARC1; p=reject")}},
};

static enum spf_result spf_of(struct slice word) {
    for (int r = SPF_NONE; r <= SPF_PERMERROR; r++)
        if (slice_is(word, spf_result_text((enum spf_result)r))) return (enum spf_result)r;
    fail();
    return SPF_NONE;
}

static enum dkim_result dkim_of(struct slice word) {
    for (int r = DKIM_NONE; r <= DKIM_PERMERROR; r++)
        if (slice_is(word, dkim_result_text((enum dkim_result)r))) return (enum dkim_result)r;
    fail();
    return DKIM_NONE;
}

/* "word domain": the word, and *domain. */
static struct slice take_word(struct slice text, struct slice *domain) {
    struct slice word;
    *domain = text;
    if (slice_cut(domain, ' ', &word)) return word;
    *domain = SLICE("");
    return text;
}

static void describe(const struct dmarc_verdict *v, struct buf *out) {
    buf_printf(out, "%s %s", dmarc_result_text(v->result), dmarc_policy_text(v->policy));
    if (v->applied != v->policy) buf_printf(out, " applied=%s", dmarc_policy_text(v->applied));
    if (*v->relief) buf_printf(out, " %s", v->relief);
    if (v->spf_aligned) buf_add_str(out, " spf");
    if (v->dkim_aligned) buf_add_str(out, " dkim");
    if (*v->record_domain && strcmp(v->record_domain, v->from_domain) != 0)
        buf_printf(out, " record=%s", v->record_domain);
    if (*v->record_domain && strcmp(v->record_domain, v->from_domain) == 0 && !v->has_record)
        buf_printf(out, " record=%s", v->record_domain);
    if (v->uncertain) buf_add_str(out, " uncertain");
}

static struct dmarc_verdict judge(struct arena *arena, const struct test_case *t, bool steps) {
    struct dkim_verdict *dkim = arena_alloc(arena, 4 * sizeof *dkim);
    struct dmarc_query q = {.from = slice_of(t->from), .dkim = dkim, .sampled = 50, .explain = steps};
    struct slice list = slice_of(t->dkim), one, domain;
    size_t n = 0;
    q.discovery = strncmp(t->what, "psl:", 4) == 0 ? DMARC_PUBLIC_SUFFIXES : DMARC_TREE_WALK;
    q.no_alignment = strncmp(t->what, "twice:", 6) == 0;
    q.spf = spf_of(take_word(slice_of(t->spf), &q.spf_domain));
    while (list.n) {
        if (!slice_cut(&list, ',', &one)) one = list, list.n = 0;
        dkim[q.dkim_count].result = dkim_of(take_word(one, &domain));
        dkim[q.dkim_count++].signature.d = domain;
    }
    while (n < RECORDS_MAX && t->records[n].name) n++;
    struct scripted_dns script = {.records = t->records, .count = n, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct dmarc_verdict v;
    int rounds = 0;
    while (dmarc_check(arena, &q, &dns, &v) == TRUST_PENDING) assert_true(++rounds < 6);
    return v;
}

static void messages_are_judged_as_the_rfc_says(void **state) {
    int wrong = 0;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int steps = 0; steps < 2; steps++) { /* explaining must change nothing */
            struct arena *arena = arena_create();
            struct dmarc_verdict v = judge(arena, &cases[i], steps);
            struct buf got = {0};
            describe(&v, &got);
            if (strcmp(buf_str(&got), cases[i].is) != 0) {
                print_error("%s:\n    %s\n    and not: %s (%s)\n", cases[i].what, buf_str(&got), cases[i].is, v.reason);
                wrong++;
            }
            assert_true(steps ? v.step_count > 0 : v.step_count == 0);
            buf_free(&got);
            arena_destroy(arena);
        }
    assert_int_equal(wrong, 0);
}

/* A sender with many signatures of many subdomains cannot make us ask without end. */
static void walks_are_bounded(void **state) {
    static const struct scripted_record records[] = {EXAMPLE};
    struct arena *arena = arena_create();
    struct scripted_dns script = {.records = records, .count = 1, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct dkim_verdict dkim[20] = {0};
    struct dmarc_query q = {.from = SLICE("example.com"), .dkim_count = 20, .dkim = dkim};
    struct dmarc_verdict v;
    (void)state;
    for (int i = 0; i < 20; i++) {
        dkim[i].result = DKIM_TEMPERROR;
        dkim[i].signature.d = slice_of(arena_printf(arena, "s%d.a.b.c.d.e.f.example.com", i));
    }
    while (dmarc_check(arena, &q, &dns, &v) == TRUST_PENDING) continue;
    assert_true(script.questions <= 2 + DMARC_IDENTIFIERS_MAX * DMARC_QUERIES_MAX);
    assert_int_equal(v.result, DMARC_TEMPERROR);
    arena_destroy(arena);
}

static void steps_say_what_was_looked_at(void **state) {
    static const struct test_case t = {"", "a.example.com", "fail a.example.com", "pass b.example.com", "", {EXAMPLE}};
    static const char *const lines[] = {"_dmarc.a.example.com: no DMARC record",
                                        "_dmarc.example.com: v=DMARC1; p=reject",
                                        "_dmarc.com: no DMARC record",
                                        "the organizational domain of a.example.com is example.com",
                                        "SPF does not pass (fail)",
                                        "the organizational domain of b.example.com is example.com",
                                        "DKIM pass for b.example.com: aligned with a.example.com (relaxed)"};
    struct arena *arena = arena_create();
    struct dmarc_verdict v = judge(arena, &t, true);
    (void)state;
    assert_int_equal(v.step_count, sizeof lines / sizeof *lines);
    for (size_t i = 0; i < v.step_count; i++) assert_string_equal(v.steps[i], lines[i]);
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_judged_as_the_rfc_says),
        cmocka_unit_test(walks_are_bounded),
        cmocka_unit_test(steps_say_what_was_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
