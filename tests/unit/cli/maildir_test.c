/* Names and lists of Maildirs, as Dovecot writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/mailbox/maildir.h"

static void names_of_messages(void **state) {
    static const struct {
        const char *file, *unique;
        uint32_t flags, keywords;
        uint64_t time;
    } cases[] = {
        {"1764000000.M1P2.host,S=12,W=13:2,FSa", "1764000000.M1P2.host", MAILDIR_FLAGGED | MAILDIR_SEEN, 1, 1764000000},
        {"1764000000.7_12.host:2,", "1764000000.7_12.host", 0, 0, 1764000000},
        {"1764000000.host", "1764000000.host", 0, 0, 1764000000},
        {"x:2,DPRTz", "x", MAILDIR_DRAFT | MAILDIR_PASSED | MAILDIR_ANSWERED | MAILDIR_DELETED, 1u << 25, 0},
        {"1.a:2,S,further", "1.a", MAILDIR_SEEN, 0, 1},
        {"99999999999999999999.a:2,?", "99999999999999999999.a", 0, 0, 0},
    };
    struct maildir_name name;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(maildir_name_read(slice_of(cases[i].file), &name));
        assert_true(slice_is(name.unique, cases[i].unique));
        assert_int_equal(name.flags, cases[i].flags);
        assert_int_equal(name.keywords, cases[i].keywords);
        assert_int_equal(name.time, cases[i].time);
    }
    assert_false(maildir_name_read(SLICE(""), &name));
    assert_false(maildir_name_read(SLICE(".nfs0001"), &name));
    struct buf out = {0};
    maildir_name_write(SLICE("1.2_3.postbus"), 7, MAILDIR_SEEN | MAILDIR_DRAFT | MAILDIR_PASSED, 5, &out);
    assert_string_equal(buf_str(&out), "1.2_3.postbus,S=7:2,DPSac");
    buf_free(&out);
}

static void names_of_folders(void **state) {
    static const struct {
        const char *directory, *folder;
    } both[] = {{".Archive", "Archive"},
                {".Archive.2026", "Archive/2026"},
                {".Entw&APw-rfe", "Entw\xc3\xbcrfe"},
                {".v1\\2e0.a\\5cb", "v1.0/a\\b"},
                {".A &- B", "A & B"}},
      only_read[] = {{".Entw\xc3\xbcrfe", "Entw\xc3\xbcrfe"}, {".a\\2fb", "a\\2fb"}, {".a\\zz", "a\\zz"}};
    static const char *const none[] = {"", ".", "cur", "..", ".a..b", ".a.", ".a/b"};
    struct buf out = {0};
    (void)state;
    for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
        assert_true(maildir_folder_read(slice_of(both[i].directory), &out));
        assert_string_equal(buf_str(&out), both[i].folder);
        buf_reset(&out);
        assert_true(maildir_folder_write(slice_of(both[i].folder), &out));
        assert_string_equal(buf_str(&out), both[i].directory);
        buf_reset(&out);
    }
    for (size_t i = 0; i < sizeof only_read / sizeof *only_read; i++) {
        assert_true(maildir_folder_read(slice_of(only_read[i].directory), &out));
        assert_string_equal(buf_str(&out), only_read[i].folder);
        buf_reset(&out);
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_false(maildir_folder_read(slice_of(none[i]), &out));
        assert_int_equal(out.n, 0);
    }
    char long_name[300];
    memset(long_name, 'x', sizeof long_name);
    assert_false(maildir_folder_write(slice_make(long_name, sizeof long_name), &out));
    buf_free(&out);
}

static void lists(void **state) {
    struct slice keywords[MAILDIR_KEYWORDS_MAX];
    struct buf name = {0}, text = {0};
    size_t at = 0;
    (void)state;
    maildir_keywords_read(SLICE("0 $Label1\n2 work\nno\n26 late\n3 last"), keywords);
    assert_true(slice_is(keywords[0], "$Label1") && keywords[1].n == 0 && slice_is(keywords[2], "work") &&
                slice_is(keywords[3], "last"));
    static const char first[] = "Archive.2026\n\nEntw&APw-rfe\nINBOX";
    static const char *const names[] = {"Archive/2026", "Entw\xc3\xbcrfe", "INBOX"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(maildir_subscription_next(slice_of(first), '.', &at, &name));
        assert_string_equal(buf_str(&name), names[i]);
        buf_reset(&name);
    }
    assert_false(maildir_subscription_next(slice_of(first), '.', &at, &name));
    buf_add_str(&text, "V\t2\n\n");
    for (size_t i = 0; i < 3; i++) maildir_subscription_write(slice_of(names[i]), &text);
    assert_string_equal(buf_str(&text), "V\t2\n\nArchive\t2026\nEntw\xc3\xbcrfe\nINBOX\n");
    at = 0;
    for (size_t i = 0; i < 3; i++) {
        assert_true(maildir_subscription_next(buf_slice(&text), '.', &at, &name));
        assert_string_equal(buf_str(&name), names[i]);
        buf_reset(&name);
    }
    assert_false(maildir_subscription_next(buf_slice(&text), '.', &at, &name));
    buf_free(&name);
    buf_free(&text);
}

static void line_ends(void **state) {
    static const struct {
        struct slice file, message;
    } cases[] = {{SLICE("a: b\n\nx\n"), SLICE("a: b\r\n\r\nx\r\n")},
                 {SLICE("a: b\n\nx\r\ny"), SLICE("a: b\r\n\r\nx\r\ny")},
                 {SLICE("a: b\r\n\r\nx\ny\r\n"), SLICE("a: b\r\n\r\nx\ny\r\n")}, /* a bare LF that the message has */
                 {SLICE("no line end"), SLICE("no line end")},
                 {SLICE("\nbody\n"), SLICE("\r\nbody\r\n")}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        maildir_message_read(cases[i].file, &out);
        assert_true(slice_equal(buf_slice(&out), cases[i].message));
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_of_messages), cmocka_unit_test(names_of_folders),
                                       cmocka_unit_test(lists), cmocka_unit_test(line_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
