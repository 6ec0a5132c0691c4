/* SMTP commands, and the text of DATA, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/smtpd/smtpd.h"

struct metric smtpd_connections, smtpd_accepted, smtpd_delivered, smtpd_refused, smtpd_deferred, smtpd_bytes;

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

/* Only CRLF "." CRLF ends a message; what looks like an end to a lax server is text, and tells that
 * it is malformed. */
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

/* RFC 5321 §4.5.3.1: a local part of 64 octets, a domain of 255, a path of 256 with its
 * brackets. */
static void paths_have_a_length(void **state) {
    static const struct {
        size_t local, domain;
        int result;
    } cases[] = {
        {64, 20, 0},
        {65, 20, SMTP_PATH_TOO_LONG},
        {5, 248, 0},
        {5, 249, SMTP_PATH_TOO_LONG}, /* 257 with "@" and the brackets */
        {60, 194, SMTP_PATH_TOO_LONG},
        {1, 256, SMTP_PATH_TOO_LONG},
        {1, 4000, SMTP_PATH_TOO_LONG},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text = {0};
        struct slice address;
        buf_add_str(&text, "FROM:<");
        for (size_t k = 0; k < cases[i].local; k++) buf_add_char(&text, 'a');
        buf_add_char(&text, '@');
        for (size_t k = 0; k < cases[i].domain; k++) /* labels of 31 */
            buf_add_char(&text, k % 32 == 31 && k + 1 < cases[i].domain ? '.' : 'b');
        buf_add_char(&text, '>');
        struct slice argument = buf_slice(&text);
        int got = smtp_parse_path(&argument, "FROM", &address);
        if (got != cases[i].result) fail_msg("%zu@%zu: %d", cases[i].local, cases[i].domain, got);
        buf_free(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verbs_are_known_in_any_case),  cmocka_unit_test(paths_follow_the_grammar),
        cmocka_unit_test(parameters_are_key_and_value), cmocka_unit_test(nothing_but_crlf_dot_crlf_ends_a_message),
        cmocka_unit_test(paths_have_a_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
