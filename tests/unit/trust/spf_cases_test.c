/* SPF (RFC 7208) case by case, as the tables in spf_cases/ tell them. */
#include <glob.h>

#include "tests/unit/trust/spf_cases.h"

static const char TABLES[] = "tests/unit/trust/spf_cases/*.txt";

enum { ROUNDS_MAX = 60 }; /* fewer than the verifier allows a whole message */

static struct spf_verdict run(struct spf_table *t, const struct spf_case *c, bool forgetful) {
    struct trust_dns dns = spf_table_dns(t, forgetful);
    struct spf_query q = {.ip = c->ip,
                          .helo = c->helo,
                          .sender = c->sender,
                          .helo_identity = c->helo_identity,
                          .receiver = SLICE("mx.here.test"),
                          .now = 1795513277,
                          .explain = !forgetful};
    struct spf_verdict v;
    int rounds = 0;
    while (spf_check(t->arena, &q, &dns, &v) == TRUST_PENDING)
        if (++rounds == ROUNDS_MAX) fail_msg("%s:%d: it is not done after %d rounds", c->file, c->line, rounds);
    return v;
}

/* What is wrong with a verdict; NULL: nothing. */
static const char *wrong_with(struct spf_table *t, const struct spf_case *c, const struct spf_verdict *v) {
    const char *result = spf_result_text(v->result);
    bool matched =
        v->result == SPF_PASS || v->result == SPF_FAIL || v->result == SPF_SOFTFAIL || v->result == SPF_NEUTRAL;
    if (strcmp(result, c->result) != 0) return arena_printf(t->arena, "%s instead of %s", result, c->result);
    if (!*v->reason) return "it says no reason";
    if (matched != (*v->mechanism != 0)) return "a mechanism is named where none decided, or none where one did";
    if (matched != (*v->record_domain != 0)) return "it does not say whose record decided";
    if (!slice_is(c->explains, v->explanation))
        return arena_printf(t->arena, "the explanation is \"%s\"", v->explanation);
    if (c->lookups >= 0 && c->lookups != v->lookups) return arena_printf(t->arena, "%d terms asked DNS", v->lookups);
    if (c->voids >= 0 && c->voids != v->void_lookups)
        return arena_printf(t->arena, "%d lookups found nothing", v->void_lookups);
    if (v->lookups > SPF_LOOKUPS_MAX + 1 || v->void_lookups > SPF_VOID_MAX + 1) return "it went on beyond a limit";
    return NULL;
}

static void each_case_of_the_tables_gives_the_result_that_the_rfc_gives(void **state) {
    glob_t files;
    size_t cases = 0, failed = 0;
    (void)state;
    assert_int_equal(glob(TABLES, 0, NULL, &files), 0);
    for (size_t f = 0; f < files.gl_pathc; f++) {
        struct spf_table *t = spf_table_read(files.gl_pathv[f]);
        for (size_t i = 0; i < t->case_count; i++, cases++) {
            const struct spf_case *c = &t->cases[i];
            struct spf_verdict at_once = run(t, c, false), bit_by_bit = run(t, c, true);
            const char *wrong = wrong_with(t, c, &at_once);
            if (!wrong) wrong = wrong_with(t, c, &bit_by_bit);
            if (!wrong && !at_once.step_count) wrong = "it has no steps";
            if (!wrong && bit_by_bit.step_count) wrong = "it has steps that nobody asked for";
            if (!wrong) continue;
            failed++;
            print_error("%s:%d: %.*s: %s (%s)\n", c->file, c->line, SLICE_FMT(c->words), wrong, at_once.reason);
            for (size_t s = 0; s < at_once.step_count; s++) print_error("    %s\n", at_once.steps[s]);
        }
        spf_table_free(t);
    }
    globfree(&files);
    print_message("%zu cases\n", cases);
    assert_int_equal(failed, 0);
    assert_true(cases >= 400);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_case_of_the_tables_gives_the_result_that_the_rfc_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
