/* What accounts answered is remembered, and forgotten when it changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/smtpd/smtpd.h"

/* those of main.c, which is not linked here */
struct metric smtpd_connections, smtpd_accepted, smtpd_delivered, smtpd_refused, smtpd_deferred, smtpd_bytes;

static struct worker worker; /* without a bus */
static struct smtpd smtpd = {.worker = &worker};

#define USER "01J00000000000000000000000"

static void learn(struct resolver *r, uint64_t mark, const char *address, const char *answer) {
    struct resolved *x = resolved_read(slice_of(answer));
    assert_non_null(x);
    resolver_keep(r, mark, slice_of(address), x);
    resolved_release(x);
}

static bool knows(struct resolver *r, const char *address) {
    struct resolved *x = resolver_find(r, slice_of(address));
    resolved_release(x);
    return x != NULL;
}

static struct resolver *begin(void) {
    struct resolver *r = resolver_create(&smtpd);
    learn(r, 0, "ann@a.test",
          "{\"kind\":\"local\",\"users\":[{\"user\":\"" USER "\",\"address\":\"ann@a.test\"}],\"remote\":[]}");
    learn(r, 0, "bob@a.test",
          "{\"kind\":\"local\",\"users\":[{\"user\":\"" USER "\",\"address\":\"bob@a.test\"}],\"remote\":[]}");
    learn(r, 0, "cat@b.test",
          "{\"kind\":\"local\",\"users\":[{\"user\":\"" USER "\",\"address\":\"cat@b.test\"}],\"remote\":[]}");
    learn(r, 0, "team@b.test",
          "{\"kind\":\"local\",\"users\":[{\"user\":\"" USER
          "\",\"address\":\"ann@a.test\"}],\"remote\":[\"x@y.test\"]}");
    learn(r, 0, "x@y.test", "{\"kind\":\"remote\"}");
    learn(r, 0, "nobody@a.test", "{\"kind\":\"unknown\"}");
    return r;
}

static void answers_are_found_by_any_spelling(void **state) {
    struct resolver *r = begin();
    (void)state;
    assert_true(knows(r, "ann@a.test") && knows(r, "ANN@A.Test") && knows(r, "\"ann\"@a.test"));
    assert_false(knows(r, "ann@a.test.") && knows(r, "anne@a.test"));
    assert_false(knows(r, "nobody@a.test")); /* nobody is refused by an old answer */
    struct resolved *x = resolver_find(r, SLICE("team@b.test"));
    assert_int_equal(x->count, 2);
    assert_string_equal(x->at[0].address, "ann@a.test");
    assert_string_equal(x->at[0].user, USER);
    assert_string_equal(x->at[1].address, "x@y.test");
    assert_null(x->at[1].user);
    resolver_forget(r, "b.test", NULL);
    assert_string_equal(x->at[1].address, "x@y.test"); /* a command that has it keeps it */
    resolved_release(x);
    resolver_destroy(r);
}

static void a_change_clears_what_it_concerns(void **state) {
    static const struct {
        const char *domain, *account;
        bool ann, bob, cat, team, elsewhere;
    } cases[] = {
        {"a.test", "ann", false, true, true, false, false},
        {"a.test", "ann@a.test", false, true, true, false, false},
        {"a.test", "an", true, true, true, false, false},
        {"a.test", NULL, false, false, true, false, false},
        {"b.test", NULL, true, true, false, false, false},
        {"c.test", NULL, true, true, true, false, false}, /* an alias of others may lead through
                                                             it */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct resolver *r = begin();
        resolver_forget(r, cases[i].domain, cases[i].account);
        bool good = knows(r, "ann@a.test") == cases[i].ann && knows(r, "bob@a.test") == cases[i].bob &&
                    knows(r, "cat@b.test") == cases[i].cat && knows(r, "team@b.test") == cases[i].team &&
                    knows(r, "x@y.test") == cases[i].elsewhere;
        if (!good) fail_msg("case %zu", i);
        resolver_destroy(r);
    }
}

/* The answer was on its way while the change was heard. */
static void an_answer_from_before_a_change_is_not_kept(void **state) {
    struct resolver *r = begin();
    (void)state;
    uint64_t mark = resolver_mark(r);
    resolver_forget(r, "a.test", NULL);
    learn(r, mark, "ann@a.test", "{\"kind\":\"remote\"}");
    assert_false(knows(r, "ann@a.test"));
    learn(r, resolver_mark(r), "ann@a.test", "{\"kind\":\"remote\"}");
    assert_true(knows(r, "ann@a.test"));
    resolver_destroy(r);
}

static void there_is_a_bound(void **state) {
    struct resolver *r = resolver_create(&smtpd);
    char address[64];
    (void)state;
    for (int i = 0; i <= RESOLVE_NAMES_MAX; i++) {
        snprintf(address, sizeof address, "n%d@y.test", i);
        learn(r, 0, address, "{\"kind\":\"remote\"}");
    }
    assert_true(knows(r, address));
    assert_false(knows(r, "n0@y.test"));
    resolver_destroy(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_found_by_any_spelling), cmocka_unit_test(a_change_clears_what_it_concerns),
        cmocka_unit_test(an_answer_from_before_a_change_is_not_kept), cmocka_unit_test(there_is_a_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
