/* Answers of IMAP servers: the examples of RFC 9051 and RFC 2342, and what servers send beside the grammar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/mailbox/imap/answer.h"
#include "services/cli/mailbox/imap/source.h"

static struct arena *arena;

static struct imap_answer read_one(struct slice text) {
    struct imap_answer a;
    assert_int_equal(imap_answer_read(text, arena, &a), 0);
    return a;
}

static void assert_slice(struct slice s, const char *text) {
    if (!slice_is(s, text)) fail_msg("\"%.*s\" is not \"%s\"", SLICE_FMT(s), text);
}

static void states(void **state) {
    (void)state;
    struct imap_answer a = read_one(SLICE("A142 OK [READ-ONLY] EXAMINE completed\r\n")); /* RFC 9051 §6.3.3 */
    assert_int_equal(a.kind, IMAP_STATUS);
    assert_int_equal(a.status, IMAP_OK);
    assert_slice(a.tag, "A142");
    assert_slice(a.code, "READ-ONLY");
    assert_slice(a.text, "EXAMINE completed");
    a = read_one(SLICE("* ok [UIDVALIDITY 3857529045]\r\n"));
    assert_slice(a.code, "UIDVALIDITY 3857529045");
    assert_slice(a.text, "");
    assert_int_equal(read_one(SLICE("* BYE\r\n")).status, IMAP_BYE);
    assert_int_equal(read_one(SLICE("* PREAUTH hello\r\n")).status, IMAP_PREAUTH);
    assert_int_equal(read_one(SLICE("+ Ready for literal {5}\r\n")).kind, IMAP_CONTINUE);
    assert_slice(read_one(SLICE("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")).text, "IMAP4rev1 AUTH=PLAIN");
    assert_int_equal(read_one(SLICE("* 18 EXISTS\r\n")).number, 18);
    assert_int_equal(read_one(SLICE("* 18 EXPUNGE\r\n")).kind, IMAP_OTHER);
    assert_int_equal(read_one(SLICE("* ENABLED X\r\n")).kind, IMAP_OTHER);
}

static void lists(void **state) {
    (void)state;
    struct imap_answer a = read_one(SLICE("* LIST (\\Noselect) \"/\" ~/Mail/foo\r\n")); /* RFC 3501 §7.2.2 */
    assert_int_equal(a.kind, IMAP_LIST);
    assert_true(imap_word_has(a.flags, "\\NOSELECT"));
    assert_false(imap_word_has(a.flags, "\\No"));
    assert_int_equal(a.separator, '/');
    assert_slice(a.name, "~/Mail/foo");
    a = read_one(SLICE("* LIST () NIL \"a\\\"b\\\\c\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"));
    assert_int_equal(a.separator, 0);
    assert_slice(a.name, "a\"b\\c");
    assert_slice(read_one(SLICE("* LSUB () \".\" {5}\r\na\"b c\r\n")).name, "a\"b c");
    a = read_one(SLICE(
        "* NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\" \"X-PARAM\" (\"FLAG1\" \"FLAG2\"))) NIL ((\"Public/\" NIL))\r\n"));
    assert_int_equal(a.namespace_count, 3); /* RFC 2342 §5 */
    assert_slice(a.namespaces[1].prefix, "#mh/");
    assert_true(a.namespaces[1].personal);
    assert_slice(a.namespaces[2].prefix, "Public/");
    assert_false(a.namespaces[2].personal);
}

static void messages(void **state) {
    (void)state;
    struct imap_answer a = read_one(SLICE("* 12 FETCH (FLAGS (\\Seen $x) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" "
                                          "RFC822.SIZE 4286 X-GM (a (\"b)\" {2}\r\n)))) UID 7 BODY[HEADER.FIELDS "
                                          "(DATE \"TO\")]<0> {3}\r\nx)\n)\r\n"));
    assert_int_equal(a.kind, IMAP_FETCH);
    assert_int_equal(a.uid, 7);
    assert_int_equal(a.size, 4286);
    assert_int_equal(a.date, 837596665);
    assert_slice(a.flags, "\\Seen $x");
    assert_true(a.has_section);
    assert_slice(a.section, "x)\n");
    a = read_one(SLICE("* 1 FETCH (BODY[] NIL)\r\n"));
    assert_true(a.has_section && !a.section.n && !a.uid && a.date == -1);
}

static void what_is_not_of_the_grammar(void **state) {
    static const struct slice wrong[] = {
        SLICE(""),
        SLICE("\r\n"),
        SLICE("* LIST (\\Seen \"/\" x\r\n"),
        SLICE("* LIST () \"//\" x\r\n"),
        SLICE("* LIST () \"/\"\r\n"),
        SLICE("* LIST () \"/\" {9}\r\nx\r\n"),
        SLICE("* 1 FETCH (UID\r\n"),
        SLICE("* 1 FETCH (UID 99999999999)\r\n"),
        SLICE("* 1 FETCH UID 5\r\n"),
        SLICE("* 1 FETCH (BODY[] {18446744073709551615}\r\nx)\r\n"),
        SLICE("* 1 FETCH (BODY[ x)\r\n"),
        SLICE("* NAMESPACE ((\"\" \"/\") NIL NIL\r\n"),
        SLICE("a1 done\r\n"),
        SLICE("HTTP/1.1 400 Bad Request\r\n"),
        SLICE("a1 OK\n"),
    };
    struct imap_answer a;
    char deep[1000] = "* 1 FETCH (X ";
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (imap_answer_read(wrong[i], arena, &a) == 0) fail_msg("%.*s", SLICE_FMT(wrong[i]));
    memset(deep + strlen(deep), '(', 800);
    memcpy(deep + strlen(deep), "\r\n", 3);
    assert_int_equal(imap_answer_read(slice_of(deep), arena, &a), -1);
}

static void literals(void **state) {
    static const struct {
        const char *line;
        int64_t size; /* -1: none */
    } lines[] = {{"* LIST () \"/\" {12}", 12},
                 {"* 1 FETCH (BODY[] ~{7}", 7},
                 {" BODY[] {0}", 0},
                 {"* OK text {5}", -1},
                 {"a1 NO {5}", -1},
                 {"+ {5}", -1},
                 {"* 1 FETCH ({}", -1},
                 {"* 1 FETCH ({x}", -1},
                 {"* LIST \"{5}\"", -1},
                 {"", -1},
                 {"}", -1}};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        uint64_t size = 0;
        bool found = imap_literal_follows(slice_of(lines[i].line), &size);
        if (found != (lines[i].size >= 0) || (found && (int64_t)size != lines[i].size)) fail_msg("%s", lines[i].line);
    }
}

static void names(void **state) {
    static const struct {
        const char *name, *prefix, *target; /* NULL: none */
        char separator;
    } cases[] = {{"INBOX.Entw&APw-rfe.a/b", "INBOX.", "Entw\xc3\xbcrfe/a_b", '.'},
                 {"inbox", "INBOX.", "INBOX", '.'},
                 {"Archive/2026", "", "Archive/2026", '/'},
                 {"a..b.", "", "a/b", '.'},
                 {"Entw\xc3\xbcrfe", "", "Entw\xc3\xbcrfe", '/'},
                 {"a.b", "", "a.b", 0},
                 {"a\tb", "", "a_b", '/'},
                 {"&bad", "", "&bad", '/'},
                 {"\xff", "", NULL, '/'},
                 {"...", "", NULL, '.'},
                 {"INBOX.", "INBOX.", "INBOX", '.'}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        bool named = imap_folder_name(slice_of(cases[i].name), cases[i].separator, slice_of(cases[i].prefix), &out);
        if (named != (cases[i].target != NULL) || !slice_is(buf_slice(&out), named ? cases[i].target : ""))
            fail_msg("%s became %s", cases[i].name, buf_str(&out));
        buf_free(&out);
    }
}

static void dates(void **state) {
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {{" 1-Jan-1970 00:00:00 +0000", 0},
                 {"01-Jan-1970 01:00:00 +0100", 0},
                 {"24-Nov-2026 10:00:00 -0130", 1795519800},
                 {"24-Nov-2026", -1},
                 {"99-Nov-2026 10:00:00 +0000", -1},
                 {"24-Xxx-2026 10:00:00 +0000", -1},
                 {"24-Nov-2026 10:00:00 0000", -1},
                 {"24-Nov-2026 -1:00:00 +0000", -1},
                 {"", -1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (imap_date_read(slice_of(cases[i].text)) != cases[i].seconds)
            fail_msg("%s: %lld", cases[i].text, (long long)imap_date_read(slice_of(cases[i].text)));
}

static void addresses(void **state) {
    struct source_address a;
    (void)state;
    assert_int_equal(source_address_read(SLICE("imaps://ann%40old.test@mail.old.test"), &a), 0);
    assert_string_equal(a.user, "ann@old.test");
    assert_string_equal(a.host, "mail.old.test");
    assert_string_equal(a.port, "993");
    assert_false(a.starttls);
    assert_int_equal(source_address_read(SLICE("imap://ann@old.test@[::1]:1143/"), &a), 0);
    assert_string_equal(a.user, "ann@old.test");
    assert_string_equal(a.host, "::1");
    assert_string_equal(a.port, "1143");
    assert_true(a.starttls);
    for (const char *const *wrong =
             (const char *const[]){"imaps://old.test", "imaps://@old.test", "imaps://ann@", "imaps://ann@x:0",
                                   "imaps://ann@x:99999", "imaps://a%4@x", "imaps://ann@x/INBOX", "pop3://ann@x", NULL};
         *wrong; wrong++)
        if (source_address_read(slice_of(*wrong), &a) == 0) fail_msg("%s", *wrong);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states),   cmocka_unit_test(lists),     cmocka_unit_test(messages),
        cmocka_unit_test(literals), cmocka_unit_test(names),     cmocka_unit_test(what_is_not_of_the_grammar),
        cmocka_unit_test(dates),    cmocka_unit_test(addresses),
    };
    arena = arena_create();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
