#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/pop3d/pop3d.h"

static void test_commands(void **state) {
    static const struct {
        const char *line;
        enum pop3_verb verb;
        size_t count;
        const char *text;
    } cases[] = {
        {"QUIT", POP3_QUIT, 0, ""},
        {"quit", POP3_QUIT, 0, ""},
        {"RETR 12", POP3_RETR, 1, "12"},
        {"TOP 1  10", POP3_TOP, 2, "1  10"},
        {"PASS two words ", POP3_PASS, 2, "two words "},
        {"USER", POP3_USER, 0, ""},
        {"RETRX 1", POP3_UNKNOWN, 1, "1"},
        {"", POP3_UNKNOWN, 0, ""},
        {" QUIT", POP3_UNKNOWN, 1, "QUIT"},
        {"NOOP\n", POP3_UNKNOWN, 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pop3_command c;
        pop3_parse(slice_of(cases[i].line), &c);
        assert_int_equal(c.verb, cases[i].verb);
        assert_int_equal(c.count, cases[i].count);
        assert_true(slice_is(c.text, cases[i].text));
    }
}

static void test_numbers(void **state) {
    uint32_t value;
    (void)state;
    assert_int_equal(pop3_number(SLICE("4294967295"), &value), 0);
    assert_int_equal(value, UINT32_MAX);
    assert_int_equal(pop3_number(SLICE("4294967296"), &value), -1);
    assert_int_equal(pop3_number(SLICE(""), &value), -1);
    assert_int_equal(pop3_number(SLICE("+1"), &value), -1);
}

static void test_stuffing(void **state) {
    static const struct {
        const char *message;
        size_t lines;
        const char *expected;
    } cases[] = {
        {"", SIZE_MAX, ".\r\n"},
        {"a: b\r\n\r\nc\r\n", SIZE_MAX, "a: b\r\n\r\nc\r\n.\r\n"},
        {"a: b\r\n\r\n.\r\n..d\r\n", SIZE_MAX, "a: b\r\n\r\n..\r\n...d\r\n.\r\n"},
        {"a: b\r\n\r\nno end", SIZE_MAX, "a: b\r\n\r\nno end\r\n.\r\n"},
        {"a: b\r\n\r\nbare\n.dot\r\n", SIZE_MAX, "a: b\r\n\r\nbare\n.dot\r\n.\r\n"},
        {"a: b\r\n\r\n1\r\n2\r\n3\r\n", 2, "a: b\r\n\r\n1\r\n2\r\n.\r\n"},
        {"a: b\r\n\r\n1\r\n", 0, "a: b\r\n\r\n.\r\n"},
        {"a: b\r\n", 0, "a: b\r\n.\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        pop3_stuff(slice_of(cases[i].message), cases[i].lines, &out);
        assert_string_equal(buf_str(&out), cases[i].expected);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_commands), cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_stuffing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
