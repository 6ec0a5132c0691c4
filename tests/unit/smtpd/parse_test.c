/* SMTP commands, and the text of DATA, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/smtpd/smtpd.h"

struct metric smtpd_connections, smtpd_accepted, smtpd_refused, smtpd_deferred, smtpd_bytes;

static void verbs_are_known_in_any_case(void **state) {
    static const struct {
        const char *line;
        enum smtp_verb verb;
        const char *argument;
    } cases[] = {
        {"EHLO mx.test", SMTP_EHLO, "mx.test"},
        {"ehlo  mx.test ", SMTP_EHLO, "mx.test"},
        {"MAIL FROM:<a@b.c>", SMTP_MAIL, "FROM:<a@b.c>"},
        {"quit", SMTP_QUIT, ""},
        {"STARTTLS", SMTP_STARTTLS, ""},
        {"BDAT 100 LAST", SMTP_BDAT, "100 LAST"},
        {"", SMTP_UNKNOWN, ""},
        {"MAILFROM:<a@b.c>", SMTP_UNKNOWN, ""},
        {" EHLO x", SMTP_UNKNOWN, "EHLO x"},
        {"NOOP\rQUIT", SMTP_UNKNOWN, ""}, /* a bare CR (RFC 5321 §2.3.8) */
        {"NOOP\nQUIT", SMTP_UNKNOWN, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice argument;
        assert_int_equal(smtp_parse_verb(slice_of(cases[i].line), &argument), cases[i].verb);
        if (cases[i].verb != SMTP_UNKNOWN) assert_true(slice_is(argument, cases[i].argument));
    }
}

static void paths_follow_the_grammar(void **state) {
    static const struct {
        const char *argument, *address, *rest; /* address NULL: no path */
    } cases[] = {
        {"FROM:<a@b.example>", "a@b.example", ""},
        {"from:<a@b.example> SIZE=5", "a@b.example", "SIZE=5"},
        {"FROM: <a@b.example>", "a@b.example", ""}, /* as clients send it */
        {"FROM:<>", "", ""},
        {"FROM:<a.b+c@d.e.f>", "a.b+c@d.e.f", ""},
        {"FROM:<\"a b\"@c.d>", "\"a b\"@c.d", ""},
        {"FROM:<\"a\\\"b\"@c.d>", "\"a\\\"b\"@c.d", ""},
        {"FROM:<@x,@y:a@b.c>", "a@b.c", ""}, /* a source route is ignored (appendix C) */
        {"FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]", ""},
        {"FROM:<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""},
        {"FROM:<postmaster>", "postmaster", ""}, /* §4.5.1 */
        {"FROM:<b\xc3\xbc@b\xc3\xbc.example>", "b\xc3\xbc@b\xc3\xbc.example", ""},
        {"FROM:a@b.c", NULL, NULL},
        {"FROM:<a@b.c", NULL, NULL},
        {"FROM <a@b.c>", NULL, NULL},
        {"FROM:<a b@c.d>", NULL, NULL},
        {"FROM:<.a@b.c>", NULL, NULL},
        {"FROM:<a.@b.c>", NULL, NULL},
        {"FROM:<a..b@c.d>", NULL, NULL},
        {"FROM:<@b.c>", NULL, NULL},
        {"FROM:<a@>", NULL, NULL},
        {"FROM:<a@-b.c>", NULL, NULL},
        {"FROM:<a@b-.c>", NULL, NULL},
        {"FROM:<a@b..c>", NULL, NULL},
        {"FROM:<a@[300.1.1.1]>", NULL, NULL},
        {"FROM:<a@b@c>", NULL, NULL},
        {"FROM:<a@b.c>x", NULL, NULL},
        {"FROM:<b\xff@b.c>", NULL, NULL}, /* not UTF-8 */
        {"TO:<a@b.c>", NULL, NULL},
        {"FROM:<\"a@b.c>", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice rest = slice_of(cases[i].argument), address;
        int failed = smtp_parse_path(&rest, "FROM", &address);
        if (failed != (cases[i].address ? 0 : -1)) print_error("%s\n", cases[i].argument);
        assert_int_equal(failed, cases[i].address ? 0 : -1);
        if (failed) continue;
        assert_true(slice_is(address, cases[i].address));
        assert_true(slice_is(rest, cases[i].rest));
    }
}

static void parameters_are_key_and_value(void **state) {
    struct slice rest = SLICE("SIZE=100  BODY=8BITMIME SMTPUTF8"), key, value;
    (void)state;
    assert_int_equal(smtp_next_parameter(&rest, &key, &value), 1);
    assert_true(slice_is(key, "SIZE") && slice_is(value, "100"));
    assert_int_equal(smtp_next_parameter(&rest, &key, &value), 1);
    assert_true(slice_is(key, "BODY") && slice_is(value, "8BITMIME"));
    assert_int_equal(smtp_next_parameter(&rest, &key, &value), 1);
    assert_true(slice_is(key, "SMTPUTF8") && !value.n);
    assert_int_equal(smtp_next_parameter(&rest, &key, &value), 0);
    static const char *const malformed[] = {"SIZE=", "=5", "-X=1", "A_B=1", "\xc3\xbc=1"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        rest = slice_of(malformed[i]);
        assert_int_equal(smtp_next_parameter(&rest, &key, &value), -1);
    }
}

/* Only CRLF "." CRLF ends a message; what looks like an end to a lax server is text, and tells that it is malformed. */
static void nothing_but_crlf_dot_crlf_ends_a_message(void **state) {
    static const struct {
        const char *wire, *text, *left; /* left: what comes after the end; NULL: it has not ended */
        bool bare;
    } cases[] = {
        {"a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n", false},
        {".\r\n", "", "", false},
        {"..a\r\n.b\r\n...\r\n.\r\n", ".a\r\nb\r\n..\r\n", "", false}, /* §4.5.2 */
        {"a\n.\nQUIT\r\n", "a\n.\nQUIT\r\n", NULL, true},
        {"a\n.\r\nQUIT\r\n", "a\n.\r\nQUIT\r\n", NULL, true},
        {"a\r\n.\nQUIT\r\n", "a\r\n\nQUIT\r\n", NULL, true},
        {"a\r.\rQUIT\r\n", "a\r.\rQUIT\r\n", NULL, true},
        {"a\r\n.\rQUIT\r\n", "a\r\n\rQUIT\r\n", NULL, true},
        {"a\r\r\n.\r\n", "a\r\r\n", "", true},
        {"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", "", true},
        {"a", "a", NULL, false},
        {"a\r\n.", "a\r\n", NULL, false},
        {"a\r\n.\r", "a\r\n", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t piece = 1; piece < 8; piece++) {
            struct smtp_text t = {0};
            struct buf out = {0};
            struct slice rest = slice_of(cases[i].wire);
            while (rest.n && !t.ended) {
                struct slice part = slice_head(rest, piece);
                size_t taken = smtp_take_text(&t, part, &out);
                assert_true(t.ended || taken == part.n);
                rest = slice_skip(rest, taken);
            }
            if (strcmp(buf_str(&out), cases[i].text) != 0)
                print_error("case %zu in pieces of %zu: \"%s\"\n", i, piece, buf_str(&out));
            assert_string_equal(buf_str(&out), cases[i].text);
            assert_int_equal(t.ended, cases[i].left != NULL);
            if (cases[i].left) assert_true(slice_is(rest, cases[i].left));
            assert_int_equal(t.bare, cases[i].bare);
            buf_free(&out);
        }
    }
    struct smtp_text t = {0};
    struct buf out = {0};
    smtp_take_text(&t, slice_make("a\0b\r\n", 5), &out);
    assert_true(t.nul);
    buf_free(&out);
}

static void the_from_address_is_found_among_names_and_comments(void **state) {
    static const struct {
        const char *value, *address;
    } cases[] = {
        {" a@b.c", "a@b.c"},
        {" Ann <a@b.c>", "a@b.c"},
        {" \"x <y@z.w>\" <a@b.c>", "a@b.c"},
        {" (comment <y@z>) a@b.c", "a@b.c"},
        {" a@b.c (Ann)", "a@b.c"},
        {" a@b.c, d@e.f", "a@b.c"},
        {" \"a, b\" <a@b.c>", "a@b.c"},
        {" Ann", ""},
        {" <a@b.c", ""},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!slice_is(trace_from_address(slice_of(cases[i].value)), cases[i].address))
            print_error("%s\n", cases[i].value);
        assert_true(slice_is(trace_from_address(slice_of(cases[i].value)), cases[i].address));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verbs_are_known_in_any_case),
        cmocka_unit_test(paths_follow_the_grammar),
        cmocka_unit_test(parameters_are_key_and_value),
        cmocka_unit_test(nothing_but_crlf_dot_crlf_ends_a_message),
        cmocka_unit_test(the_from_address_is_found_among_names_and_comments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
