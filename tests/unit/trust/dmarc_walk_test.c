/* The DNS tree walk (RFC 9989 §4.10): which names are asked, which domain is the organizational
 * one, with the RFC's own examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "libcommon/trust/dmarc/dmarc.h"
#include "tests/unit/trust/scripted_dns.h"

/* Walks until DNS has said everything. */
static struct dmarc_walk walk(struct arena *arena, const char *domain, const struct scripted_record *records,
                              size_t count) {
    struct scripted_dns script = {.records = records, .count = count, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct dmarc_walk w;
    int rounds = 0;
    while (dmarc_walk(arena, &dns, slice_of(domain), DMARC_TREE_WALK, &w) == TRUST_PENDING) assert_true(++rounds < 4);
    assert_true(script.questions <= DMARC_QUERIES_MAX);
    return w;
}

static void the_names_asked_are_the_rfcs(void **state) {
    static const struct {
        const char *domain, *names;
    } cases[] = {
        /* §4.10 */
        {"a.b.c.d.e.f.g.h.i.j.mail.example.com",
         "a.b.c.d.e.f.g.h.i.j.mail.example.com g.h.i.j.mail.example.com h.i.j.mail.example.com i.j.mail.example.com "
         "j.mail.example.com mail.example.com "
         "example.com com "},
        /* §5.1.8 */
        {"mail.a.b.c.d.e.f.g.example.com",
         "mail.a.b.c.d.e.f.g.example.com c.d.e.f.g.example.com d.e.f.g.example.com e.f.g.example.com f.g.example.com "
         "g.example.com example.com com "},
        {"a.mail.example.com", "a.mail.example.com mail.example.com example.com com "},
        {"example.com", "example.com com "},
        {"com", "com "},
        /* 7, 8 and 9 labels, where the shortcut begins (step 4) */
        {"a.b.c.d.e.f.g", "a.b.c.d.e.f.g b.c.d.e.f.g c.d.e.f.g d.e.f.g e.f.g f.g g "},
        {"a.b.c.d.e.f.g.h", "a.b.c.d.e.f.g.h b.c.d.e.f.g.h c.d.e.f.g.h d.e.f.g.h e.f.g.h f.g.h g.h h "},
        {"a.b.c.d.e.f.g.h.i", "a.b.c.d.e.f.g.h.i c.d.e.f.g.h.i d.e.f.g.h.i e.f.g.h.i f.g.h.i g.h.i h.i i "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct dmarc_walk w = walk(arena, cases[i].domain, NULL, 0);
        struct buf names = {0};
        for (size_t k = 0; k < w.count; k++) buf_printf(&names, "%.*s ", SLICE_FMT(w.stops[k].domain));
        assert_string_equal(buf_str(&names), cases[i].names);
        assert_true(slice_is(w.organization, cases[i].domain)); /* §4.10.2: nothing found: the name itself */
        buf_free(&names);
        arena_destroy(arena);
    }
}

static const struct {
    const char *domain, *organization;
    struct scripted_record records[4];
} organizations[] = {
    /* the three examples at the end of §4.10.2 */
    {"a.mail.example.com",
     "example.com",
     {{"_dmarc.mail.example.com", "TXT", "v=DMARC1; p=none"}, {"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}}},
    {"a.mail.example.com",
     "mail.example.com",
     {{"_dmarc.mail.example.com", "TXT", "v=DMARC1; p=none; psd=n"},
      {"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}}},
    {"a.mail.example.com", "example.com", {{"_dmarc.com", "TXT", "v=DMARC1; p=none; psd=y"}}},
    /* rule 2's example */
    {"mail.example.com",
     "mail.example.com",
     {{"_dmarc.mail.example.com", "TXT", "v=DMARC1; p=none"},
      {"_dmarc.example.com", "TXT", "v=DMARC1; psd=y; p=none"}}},
    /* App. B.4.1 */
    {"example.com",
     "example.com",
     {{"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}, {"_dmarc.signing.example.com", "TXT", "v=DMARC1; p=none"}}},
    {"signing.example.com",
     "example.com",
     {{"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}, {"_dmarc.signing.example.com", "TXT", "v=DMARC1; p=none"}}},
    /* App. B.4.2 */
    {"a.b.c.d.e.f.g.h.i.j.k.example.com",
     "example.com",
     {{"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}, {"_dmarc.signing.example.com", "TXT", "v=DMARC1; p=none"}}},
    /* App. B.4.3 */
    {"giant.bank.example",
     "giant.bank.example",
     {{"_dmarc.giant.bank.example", "TXT", "v=DMARC1; p=none"},
      {"_dmarc.bank.example", "TXT", "v=DMARC1; p=none; psd=y"}}},
    {"mail.giant.bank.example",
     "giant.bank.example",
     {{"_dmarc.giant.bank.example", "TXT", "v=DMARC1; p=none"},
      {"_dmarc.bank.example", "TXT", "v=DMARC1; p=none; psd=y"}}},
    {"mail.mega.bank.example",
     "mega.bank.example",
     {{"_dmarc.giant.bank.example", "TXT", "v=DMARC1; p=none"},
      {"_dmarc.bank.example", "TXT", "v=DMARC1; p=none; psd=y"}}},
    /* psd=y where the walk starts ends it (step 2), but does not count for rule 2 */
    {"bank.example",
     "bank.example",
     {{"_dmarc.bank.example", "TXT", "v=DMARC1; p=none; psd=y"}, {"_dmarc.example", "TXT", "v=DMARC1; p=none"}}},
    /* psd=n hides what is above it; psd=u does not */
    {"a.b.example.com",
     "b.example.com",
     {{"_dmarc.b.example.com", "TXT", "v=DMARC1; p=none; psd=n"}, {"_dmarc.com", "TXT", "v=DMARC1; p=none; psd=y"}}},
    {"a.b.example.com",
     "example.com",
     {{"_dmarc.b.example.com", "TXT", "v=DMARC1; p=none; psd=u"},
      {"_dmarc.example.com", "TXT", "v=DMARC1; p=none; psd=u"}}},
    /* a suffix that forgot psd=y takes all (§11.8) */
    {"a.example.com",
     "com",
     {{"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}, {"_dmarc.com", "TXT", "v=DMARC1; p=none"}}},
    /* several records at a name are discarded (step 6), and so is what is no record */
    {"a.example.com",
     "a.example.com",
     {{"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}, {"_dmarc.example.com", "TXT", "v=DMARC1; p=reject"}}},
    {"a.example.com",
     "example.com",
     {{"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}, {"_dmarc.example.com", "TXT", "v=spf1 -all"}}},
    /* the record counts for the tree though its policy is not valid */
    {"a.b.example.com",
     "b.example.com",
     {{"_dmarc.b.example.com", "TXT", "v=DMARC1; psd=n"}, {"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}}},
    /* the zone cut of §5.1.8 is jumped over */
    {"mail.a.b.c.d.e.f.g.example.com",
     "example.com",
     {{"_dmarc.b.c.d.e.f.g.example.com", "TXT", "v=DMARC1; p=none; psd=n"},
      {"_dmarc.example.com", "TXT", "v=DMARC1; p=none"}}},
    /* psd=y just below the shortcut: one label below it is a name that was not asked */
    {"x.a.b.c.d.e.f.g.h", "a.b.c.d.e.f.g.h", {{"_dmarc.b.c.d.e.f.g.h", "TXT", "v=DMARC1; p=none; psd=y"}}},
};

static void organizational_domains_are_as_the_rfc_says(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof organizations / sizeof *organizations; i++) {
        struct arena *arena = arena_create();
        size_t n = 0;
        while (n < 4 && organizations[i].records[n].name) n++;
        struct dmarc_walk w = walk(arena, organizations[i].domain, organizations[i].records, n);
        if (!slice_is(w.organization, organizations[i].organization))
            print_error("case %zu: %s: %.*s\n", i, organizations[i].domain, SLICE_FMT(w.organization));
        assert_true(slice_is(w.organization, organizations[i].organization));
        assert_false(w.no_answer);
        arena_destroy(arena);
    }
}

static void a_missing_answer_counts_only_where_it_matters(void **state) {
    static const struct scripted_record below[] = {{"_dmarc.example.com", "TXT", "v=DMARC1; p=none; psd=n"},
                                                   {"_dmarc.com", "TXT", "!"}},
                                        above[] = {{"_dmarc.example.com", "TXT", "v=DMARC1; p=none"},
                                                   {"_dmarc.com", "TXT", "!"}},
                                        between[] = {{"_dmarc.example.com", "TXT", "!"},
                                                     {"_dmarc.com", "TXT", "v=DMARC1; p=none; psd=y"}};
    struct arena *arena = arena_create();
    (void)state;
    struct dmarc_walk w = walk(arena, "a.example.com", below, 2);
    assert_false(w.no_answer); /* psd=n ends the walk before it */
    assert_true(slice_is(w.organization, "example.com"));
    assert_true(walk(arena, "a.example.com", above, 2).no_answer);
    assert_true(walk(arena, "a.example.com", between, 2).no_answer); /* it may have psd=n */
    arena_destroy(arena);
}

static void the_public_suffix_list_says_otherwise_where_it_is_asked(void **state) {
    static const struct {
        const char *name, *organization;
    } cases[] = {
        {"a.b.example.com", "example.com"},
        {"example.co.uk", "example.co.uk"},
        {"x.example.co.uk", "example.co.uk"},
        {"co.uk", "co.uk"},
        {"com", "com"},
        {"x.y.unknown-tld", "y.unknown-tld"}, /* the rule "*" of the list */
    };
    static const struct scripted_record records[] = {{"_dmarc.co.uk", "TXT", "v=DMARC1; p=none"},
                                                     {"_dmarc.example.co.uk", "TXT", "v=DMARC1; p=none"}};
    struct arena *arena = arena_create();
    struct scripted_dns script = {.records = records, .count = 2, .arena = arena};
    struct trust_dns dns = {scripted_lookup, &script};
    struct dmarc_walk w;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(slice_is(dmarc_organizational_domain(slice_of(cases[i].name)), cases[i].organization));
    while (dmarc_walk(arena, &dns, SLICE("a.b.example.co.uk"), DMARC_PUBLIC_SUFFIXES, &w) == TRUST_PENDING) continue;
    assert_true(slice_is(w.organization, "example.co.uk"));
    assert_int_equal(w.count, 2); /* the name and its organizational domain, nothing between or
                                     above (RFC 7489 §6.6.3) */
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_names_asked_are_the_rfcs),
        cmocka_unit_test(organizational_domains_are_as_the_rfc_says),
        cmocka_unit_test(a_missing_answer_counts_only_where_it_matters),
        cmocka_unit_test(the_public_suffix_list_says_otherwise_where_it_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
