/* Whose ownership of a submitted message is checked: a table of From and Sender fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/smtpd/smtpd.h"

static void the_authors(void **state) {
    static const struct {
        const char *from, *header;
        const char *wrong;  /* part of the refusal; NULL: none */
        const char *asked;  /* the addresses, each with a space before it */
        const char *domain; /* that signs */
    } cases[] = {
        {"ann@a.test", "From: Ann <ann@a.test>\r\n", NULL, "", "a.test"},
        {"ann@a.test", "From: ANN@A.test\r\n", NULL, "", "a.test"},
        {"ann@a.test", "From: \"x <y@z.test>\" <bob@b.test>\r\n", NULL, " bob@b.test", "b.test"},
        {"ann@a.test", "From: (c <y@z.test>) bob@b.test (Bob)\r\n", NULL, " bob@b.test", "b.test"},
        {"ann@a.test", "From: ann@a.test, ceo@a.test\r\n", NULL, " ceo@a.test", "a.test"},
        {"ann@a.test", "From: ceo@a.test,\r\n ann@a.test, x@y.test\r\n", NULL, " ceo@a.test x@y.test", "a.test"},
        {"ann@a.test", "From: ceo@b.test, ann@a.test\r\nSender: ann@a.test\r\n", NULL, "", "a.test"},
        {"ann@a.test", "From: ceo@b.test, ann@a.test\r\nSender: eve@b.test\r\n", NULL, " eve@b.test", "b.test"},
        {"ann@a.test", "From: ann@a.test\r\nSender: ceo@a.test\r\n", NULL, " ceo@a.test", "a.test"},
        {"ann@a.test", "From: ceo@a.test\r\nSender: ann@a.test\r\n", NULL, " ceo@a.test", "a.test"},
        {"ann@a.test", "From: Team: ann@a.test, ceo@a.test;\r\n", NULL, " ceo@a.test", "a.test"},
        {"", "From: \"a b\"@a.test\r\n", NULL, " a b@a.test", "a.test"},
        {"ann@a.test", "To: x@y.test\r\n", "exactly one From", "", ""},
        {"ann@a.test", "From: ann@a.test\r\nFROM: ceo@a.test\r\n", "exactly one From", "", ""},
        {"ann@a.test", "From: Ann\r\n", "no valid address", "", ""},
        {"ann@a.test", "From: ann@a.test, Ann\r\n", "no valid address", "", ""},
        {"ann@a.test", "From: Nobody:;\r\n", "no valid address", "", ""},
        {"ann@a.test", "From: ann@a.test\r\nSender: ann@a.test, ceo@a.test\r\n", "Sender", "", ""},
        {"ann@a.test", "From: ann@a.test\r\nSender: ann@a.test\r\nSender: ceo@a.test\r\n", "Sender", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct transaction t = {.arena = arena_create(), .from = slice_of(cases[i].from)};
        struct buf asked = {0};
        const char *wrong = outgoing_authors(&t, slice_of(cases[i].header));
        for (size_t k = 0; !wrong && k < t.authors.count; k++)
            buf_printf(&asked, " %s@%s", t.authors.list[k].local, t.authors.list[k].domain);
        bool good = cases[i].wrong ? wrong && strstr(wrong, cases[i].wrong)
                                   : !wrong && strcmp(buf_str(&asked), cases[i].asked) == 0 &&
                                         strcmp(t.authors.domain, cases[i].domain) == 0;
        if (!good) fail_msg("%s: %s, asked:%s", cases[i].header, wrong ? wrong : "taken", buf_str(&asked));
        buf_free(&asked);
        arena_destroy(t.arena);
    }
}

static void more_authors_than_there_may_be(void **state) {
    struct transaction t = {.arena = arena_create(), .from = SLICE("ann@a.test")};
    struct buf header = {0};
    (void)state;
    buf_add_str(&header, "From: ann@a.test");
    for (int i = 0; i < SMTP_AUTHORS_MAX; i++) buf_printf(&header, ", x%d@a.test", i);
    buf_add_str(&header, "\r\n");
    assert_non_null(outgoing_authors(&t, buf_slice(&header)));
    buf_free(&header);
    arena_destroy(t.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_authors), cmocka_unit_test(more_authors_than_there_may_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
