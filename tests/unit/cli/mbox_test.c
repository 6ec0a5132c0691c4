/* mbox files: what mbox_pack writes, mbox_next and mbox_unpack read; and the files of other programs (RFC 4155). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/mailbox/mbox.h"

static const struct slice messages[] = {
    SLICE("From: a@x.test\r\nSubject: plain\r\n\r\ntext\r\n"),
    SLICE("Subject: quotes\r\n\r\nFrom here\r\n>From there\r\n>>From\r\n> From\r\n\r\nFrom a Mon Nov 23 09:00:00 "
          "2026\r\n"),
    SLICE("Subject: no line end\r\n\r\nlast"),
    SLICE("Subject: bare LF\r\n\r\na\nb\r\n\nFrom x Mon Nov 23 09:00:00 2026\r\n\r\n"),
    SLICE("Subject: bare CR\r\n\r\na\rb\r\r\n"),
    SLICE("Status: RO\r\nX-Keywords: theirs\r\nSubject: our fields\r\n\r\nx\r\n"),
    SLICE("X-Postbus-Raw: 3\r\n\r\nx\r\n"),
    SLICE("\r\n"),
    SLICE("\r\n\r\n\r\n"),
    SLICE("Subject: only header\r\n"),
    SLICE("Subject: NUL\r\n\r\na\0b\r\n"),
    SLICE("x"),
};
enum { COUNT = sizeof messages / sizeof *messages };

static void what_is_packed_is_unpacked(void **state) {
    struct buf file = {0};
    struct mbox_message m;
    size_t at = 0;
    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        mbox_pack(messages[i], SLICE("a@x.test"), 1795424400 + (int64_t)i, (uint32_t)i & 31,
                  i % 3 ? SLICE("work $Label1") : SLICE(""), &file);
    for (size_t i = 0; i < COUNT; i++) {
        struct buf message = {0}, keywords = {0};
        uint32_t flags;
        assert_true(mbox_next(buf_slice(&file), &at, &m));
        assert_int_equal(m.date, 1795424400 + (int64_t)i);
        mbox_unpack(&m, &message, &flags, &keywords);
        if (!slice_equal(buf_slice(&message), messages[i])) print_error("message %zu: <%s>\n", i, buf_str(&message));
        assert_true(slice_equal(buf_slice(&message), messages[i]));
        assert_int_equal(flags, i & 31);
        assert_string_equal(buf_str(&keywords), i % 3 ? "work $Label1" : "");
        buf_free(&message);
        buf_free(&keywords);
    }
    assert_false(mbox_next(buf_slice(&file), &at, &m));
    buf_free(&file);
}

static void files_of_other_programs(void **state) {
    static const struct {
        const char *file;
        size_t count;
        int64_t date;        /* of the last message */
        const char *message; /* the last one */
        uint32_t flags;
        const char *keywords;
    } cases[] = {
        {"From a@x.test Mon Nov 23 09:00:00 2026\nSubject: x\nStatus: RO\nX-Status: AF\nX-Keywords: one "
         "two\n\nbody\n\n",
         1, 1795424400, "Subject: x\r\nStatus: RO\r\nX-Status: AF\r\nX-Keywords: one two\r\n\r\nbody\r\n",
         MAILDIR_SEEN | MAILDIR_ANSWERED | MAILDIR_FLAGGED, "one two"},
        {"garbage\nFrom - Mon Nov 23 09:00:00 2026\nA: 1\n\nFrom me to you\nx\n\nFrom b Mon Nov 23 09:00:01 2026\nB: "
         "2\n\ny\n",
         2, 1795424401, "B: 2\r\n\r\ny\r\n", 0, ""},
        {"From a Mon Nov 23 09:00 2026\r\nA: 1\r\n\r\nx\r\n\r\nFrom a Mon Nov 23 09:00:00 CET 2026\r\nB: "
         "2\r\n\r\ny\r\n\r\n",
         2, 1795424400, "B: 2\r\n\r\ny\r\n", 0, ""},
        {"From a at 99:99:99\nA: 1\n\n>From q\n", 1, 0, "A: 1\r\n\r\nFrom q\r\n", 0, ""},
        {"From a Mon Nov 23 09:00:00 2026\nA: 1", 1, 1795424400, "A: 1", 0, ""},
        {"", 0, 0, NULL, 0, ""},
        {"From nobody\nno time\n", 0, 0, NULL, 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf message = {0}, keywords = {0};
        struct mbox_message m = {0};
        size_t at = 0, count = 0;
        uint32_t flags;
        while (mbox_next(slice_of(cases[i].file), &at, &m)) count++;
        if (count != cases[i].count) print_error("case %zu\n", i);
        assert_int_equal(count, cases[i].count);
        if (!count) continue;
        at = 0;
        for (size_t k = 0; k < count; k++) assert_true(mbox_next(slice_of(cases[i].file), &at, &m));
        mbox_unpack(&m, &message, &flags, &keywords);
        assert_string_equal(buf_str(&message), cases[i].message);
        assert_int_equal(m.date, cases[i].date);
        assert_int_equal(flags, cases[i].flags);
        assert_string_equal(buf_str(&keywords), cases[i].keywords);
        buf_free(&message);
        buf_free(&keywords);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_packed_is_unpacked),
                                       cmocka_unit_test(files_of_other_programs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
