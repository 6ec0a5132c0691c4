/* Dates (RFC 5322 appendix A) and encoded words (RFC 2047 §8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/mail/date.h"
#include "libcommon/mail/encoded_word.h"

static void test_dates(void **state) {
    static const struct {
        const char *value;
        long long seconds; /* -1: no date */
    } cases[] = {
        {"Fri, 21 Nov 1997 09:55:06 -0600", 880127706},
        {"Tue, 1 Jul 2003 10:52:37 +0200", 1057049557},
        {"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)",
         -27723480},
        {"21 Nov 97 09:55:06 GMT", 880106106},
        {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706},
        {"Tue, 24 Nov 2026 09:41:17 +0000", 1795513277},
        {"24-Nov-2026 09:41:17 EST", 1795531277},
        {"29 Feb 2024 00:00 Z", 1709164800},
        {"1 Jan 100 00:00:00 +0000", 946684800},
        {"29 Feb 2023 00:00:00 +0000", -1},
        {"31 Apr 2023 00:00:00 +0000", -1},
        {"1 Jan 2023 24:00:00 +0000", -1},
        {"1 Foo 2023 00:00:00 +0000", -1},
        {"1 Jan 20233 00:00:00 +0000", -1},
        {"now", -1},
        {"", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct date d = {0};
        int error = date_parse(slice_of(cases[i].value), &d);
        if (cases[i].seconds == -1) {
            assert_int_equal(error, -1);
            continue;
        }
        assert_int_equal(error, 0);
        assert_int_equal(d.seconds, cases[i].seconds);
    }
}

static void test_written_day(void **state) {
    struct date d;
    (void)state;
    assert_int_equal(date_parse(SLICE("Tue, 24 Nov 2026 23:30:00 -0800"), &d), 0);
    assert_int_equal(d.year * 10000 + d.month * 100 + d.day, 20261124);
    assert_int_equal(d.zone_minutes, -480);
}

static void test_encoded_words(void **state) {
    static const struct {
        const char *value, *expected;
    } cases[] = {
        {"plain text", "plain text"},
        {"=?ISO-8859-1?Q?a?=", "a"},
        {"=?ISO-8859-1?Q?a?= b", "a b"},
        {"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
        {"=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"},
        {"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"},
        {"=?ISO-8859-1?Q?a_b?=", "a b"},
        {"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
        {"=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard"},
        {"=?UTF-8*en?B?SMOp?=", "H\xc3\xa9"},
        {"=?utf-8?q?H=C3?=", "H\xef\xbf\xbd"},
        {"=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="},
        {"=?utf-8?X?x?= =?utf-8?q", "=?utf-8?X?x?= =?utf-8?q"},
        {"a =?utf-8?q?=0A?= b", "a   b"},
        {"raw \xff byte", "raw \xef\xbf\xbd byte"},
        {"J\xc3\xb6rg", "J\xc3\xb6rg"},
        {"a = b == c", "a = b == c"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        encoded_word_decode(slice_of(cases[i].value), &out);
        assert_string_equal(buf_str(&out), cases[i].expected);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dates), cmocka_unit_test(test_written_day),
                                       cmocka_unit_test(test_encoded_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
