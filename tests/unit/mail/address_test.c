/* Examples of RFC 5322 appendix A and of mail as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/base/buf.h"
#include "libcommon/mail/address.h"

static void test_lists(void **state) {
    /* expected: name|route|local|domain; a group as {name … } */
    static const struct {
        const char *value, *expected;
    } cases[] = {
        {"John Doe <jdoe@machine.example>", "John Doe||jdoe|machine.example;"},
        {"\"Joe Q. Public\" <john.q.public@example.com>", "Joe Q. Public||john.q.public|example.com;"},
        {"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
         "Mary Smith||mary|x.test;||jdoe|example.org;Who?||one|y.test;"},
        {"<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
         "||boss|nil.test;Giant; \"Big\" Box||sysservices|example.net;"},
        {"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
         "{A Group;Ed Jones||c|a.test;||joe|where.test;John||jdoe|one.test;}"},
        {"Undisclosed recipients:;", "{Undisclosed recipients;}"},
        {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete||pete|silly.test;"},
        {"A Group(Some people)\r\n :Chris Jones <c@(Chris's host.)public.example>,\r\n joe@example.org,\r\n John "
         "<jdoe@one.test> (my dear friend); (the end of "
         "the group)",
         "{A Group;Chris Jones||c|public.example;||joe|example.org;John||jdoe|one.test;}"},
        {"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
         "Mary Smith|@node.test|mary|example.net;||jdoe|test.example;"},
        {"bob@example.org (Bob Example)", "Bob Example||bob|example.org;"},
        {"\"john doe\"@example.org", "||john doe|example.org;"},
        {"x@[192.0.2.1]", "||x|[192.0.2.1];"},
        {"=?utf-8?Q?J=C3=B6rg?= <j@x.test>", "=?utf-8?Q?J=C3=B6rg?=||j|x.test;"},
        {"J\xc3\xb6rg <j\xc3\xb6rg@b\xc3\xbc"
         "cher.test>",
         "J\xc3\xb6rg||j\xc3\xb6rg|b\xc3\xbc"
         "cher.test;"},
        {"postmaster", "||postmaster|;"},
        {"a@b@c.test", "||a|b;|||c.test;"},
        {"unclosed <a@b.test", "unclosed||a|b.test;"},
        {"(unclosed comment a@b.test", ""},
        {"\"unclosed a@b.test", "||unclosed a@b.test|;"},
        {"", ""},
        {",,,", ""},
        {"a@b.test, <>", "||a|b.test;|||;"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct buf out = {0};
        struct address *list;
        size_t count = address_parse(arena, slice_of(cases[i].value), 100, &list);
        for (size_t k = 0; k < count; k++) {
            const struct address *a = &list[k];
            if (a->kind == ADDRESS_GROUP_BEGIN)
                buf_printf(&out, "{%.*s;", SLICE_FMT(a->name));
            else if (a->kind == ADDRESS_GROUP_END)
                buf_add_char(&out, '}');
            else
                buf_printf(&out, "%.*s|%.*s|%.*s|%.*s;", SLICE_FMT(a->name), SLICE_FMT(a->route), SLICE_FMT(a->local),
                           SLICE_FMT(a->domain));
        }
        assert_string_equal(buf_str(&out), cases[i].expected);
        buf_free(&out);
        arena_destroy(arena);
    }
}

static void test_bound(void **state) {
    struct arena *arena = arena_create();
    struct address *list;
    (void)state;
    assert_true(address_parse(arena, SLICE("a@x.test,b@x.test,c@x.test,d@x.test,e@x.test,f@x.test"), 4, &list) <= 4);
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists), cmocka_unit_test(test_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
