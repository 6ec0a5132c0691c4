/* Base subjects, the collation, sent dates and threads (RFC 5256, RFC 5051, RFC 5957), as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "libcommon/base/buf.h"
#include "services/imapd/order/base_subject.h"
#include "services/imapd/order/casemap.h"
#include "services/imapd/order/sort_key.h"
#include "services/imapd/search/results.h"
#include "services/imapd/sort/thread.h"

static void base_subjects(void **state) {
    static const struct {
        const char *subject, *base;
        bool reply;
    } cases[] = {
        {" hello", "hello", false},
        {" Re: hello", "hello", true},
        {" RE:hello", "hello", true},
        {" re : hello", "hello", true},
        {" Fw: hello", "hello", true},
        {" fwd: hello", "hello", true},
        {" Re[2]: hello", "hello", true},
        {" Re [2]: hello", "hello", true},
        {" re: re: fwd: hello", "hello", true},
        {" [list] hello", "hello", false},
        {" [list] Re: hello", "hello", true},
        {" [a] [b] Re: [c] hello", "hello", true},
        {" [list]", "[list]", false}, /* a blob stays when nothing else would (step 4) */
        {" Re: [list]", "[list]", true},
        {" hello (fwd)", "hello", true},
        {" hello (FWD) (fwd) ", "hello", true},
        {" [Fwd: hello]", "hello", true},
        {" [fwd: Re: hello (fwd)]", "hello", true},
        {" [fwd: [fwd: hello]]", "hello", true},
        {" [fwd:", "[fwd:", false},
        {" Re: [fwd: ]", "", true},
        {" reply: hello", "reply: hello", false},
        {" Regarding: hello", "Regarding: hello", false},
        {" hello\r\n\tworld", "hello world", false},
        {" hello \t  world  ", "hello world", false},
        {" =?utf-8?q?Re=3A_gr=C3=BC=C3=9Fe?=",
         "gr\xc3\xbc\xc3\x9f"
         "e",
         true},
        {" [b[l]ob] x", "[b[l]ob] x", false}, /* BLOBCHAR has no bracket */
        {"", "", false},
        {" Re:", "", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        bool reply = base_subject(slice_of(cases[i].subject), &out);
        if (strcmp(buf_str(&out), cases[i].base) != 0 || reply != cases[i].reply) print_error("%s\n", cases[i].subject);
        assert_string_equal(buf_str(&out), cases[i].base);
        assert_int_equal(reply, cases[i].reply);
        buf_free(&out);
    }
}

static void casemap_is_title_case_and_decomposed(void **state) {
    static const struct {
        const char *text, *mapped;
    } cases[] = {
        {"Hello, z_", "HELLO, Z_"},
        {"K\xc3\xa4se", "KA\xcc\x88SE"},
        {"\xc7\x86", "D\x7a\xcc\x8c"}, /* U+01C6: its title case U+01C5 decomposes to "D", "z", caron */
        {"\xc3\x9f", "\xc3\x9f"},      /* sharp s has no simple title case */
        {"a\xff"
         "b",
         "A\xef\xbf\xbd"
         "B"},
        {"\xef\xac\x81", "fi"}, /* compatibility decomposition of the ligature */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        unicode_casemap(slice_of(cases[i].text), &out);
        assert_string_equal(buf_str(&out), cases[i].mapped);
        buf_free(&out);
    }
}

static void sent_dates(void **state) {
    (void)state;
    assert_int_equal(sort_sent_date(SLICE("Date: Sun, 31 Dec 2000 16:01:33 -0800\r\n"), 5), 978307293); /* §2.2 */
    assert_int_equal(sort_sent_date(SLICE("Date: yesterday\r\n"), 5), 5);
    assert_int_equal(sort_sent_date(SLICE("Subject: x\r\n"), 5), 5);
}

static void sort_values_of_addresses(void **state) {
    static const struct {
        const char *field, *criterion, *value;
    } cases[] = {
        {"From: \"Ann B\" <ann@x.test>, c@x.test\r\n", "FROM", "ANN"},
        {"From: \"Ann B\" <ann@x.test>\r\n", "DISPLAYFROM", "ANN B"},
        {"From: =?utf-8?q?Z=C3=B6e?= <z@x.test>\r\n", "DISPLAYFROM",
         "ZO\xcc\x88"
         "E"},
        {"From: ann@x.test\r\n", "DISPLAYFROM", "ANN@X.TEST"},
        {"To: Friends: a@x.test;\r\n", "TO", "FRIENDS"},
        {"To: Friends: a@x.test;\r\n", "DISPLAYTO", "FRIENDS"},
        {"Cc: bob@x.test\r\n", "CC", "BOB"},
        {"Subject: Re: x\r\n", "SUBJECT", "X"},
        {"Subject: x\r\n", "FROM", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        const char *text = arena_printf(arena, "(%s)", cases[i].criterion);
        struct parser p = {text, text + strlen(text), arena};
        struct sort_program program;
        struct sort_entry entry;
        struct mailbox_record r = {.uid = 1};
        assert_null(sort_parse_program(&p, &program));
        sort_make_entry(arena, &program, &r, slice_of(cases[i].field), &entry);
        assert_string_equal(arena_copy(arena, entry.values[0].bytes), cases[i].value);
        arena_destroy(arena);
    }
}

static void sort_programs(void **state) {
    static const struct {
        const char *program;
        bool valid;
    } cases[] = {
        {"(SUBJECT)", true},
        {"(REVERSE DATE subject)", true},
        {"()", false},
        {"SUBJECT", false},
        {"(REVERSE)", false},
        {"(COLOUR)", false},
        {"(SUBJECT ARRIVAL", false},
        {"(REVERSE REVERSE DATE)", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct parser p = {cases[i].program, cases[i].program + strlen(cases[i].program), arena};
        struct sort_program program;
        if ((sort_parse_program(&p, &program) == NULL) != cases[i].valid) print_error("%s\n", cases[i].program);
        p.p = cases[i].program;
        assert_int_equal(sort_parse_program(&p, &program) == NULL, cases[i].valid);
        arena_destroy(arena);
    }
}

static void partial_ranges(void **state) {
    static const struct {
        const char *text;
        size_t n, from, count;
        bool valid;
    } cases[] = {
        {"1:3", 5, 0, 3, true},   {"3:1", 5, 0, 3, true},   {"4:9", 5, 3, 2, true},   {"6:9", 5, 0, 0, true},
        {"-1:-2", 5, 3, 2, true}, {"-2:-1", 5, 3, 2, true}, {"-4:-9", 5, 0, 2, true}, {"-6:-7", 5, 0, 0, true},
        {"1:1", 0, 0, 0, true},   {"0:1", 5, 0, 0, false},  {"-1:2", 5, 0, 0, false}, {"1:-2", 5, 0, 0, false},
        {"1", 5, 0, 0, false},    {"1:*", 5, 0, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parser p = {cases[i].text, cases[i].text + strlen(cases[i].text), NULL};
        struct partial_range range;
        size_t from;
        bool valid = parse_partial(&p, &range) && parse_end(&p);
        if (valid != cases[i].valid) print_error("%s\n", cases[i].text);
        assert_int_equal(valid, cases[i].valid);
        if (!valid) continue;
        size_t count = partial_of(&range, cases[i].n, &from);
        if (count != cases[i].count || (count && from != cases[i].from)) print_error("%s\n", cases[i].text);
        assert_int_equal(count, cases[i].count);
        if (count) assert_int_equal(from, cases[i].from);
    }
}

static void message_ids_are_normalized(void **state) {
    static const struct {
        const char *value, *ids;
    } cases[] = {
        {" <a@b> <c@d>", "a@b c@d "},
        {" <\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com "}, /* §3 */
        {" <a@b", ""},
        {" <a> <c@d>", "c@d "},
        {" <a <c@d>", "c@d "},
        {" <a\r\n @b>", "a@b "},
        {" no id", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct buf out = {0};
        struct slice id;
        size_t at = 0;
        while (thread_next_id(arena, slice_of(cases[i].value), &at, &id)) {
            buf_add_slice(&out, id);
            buf_add_char(&out, ' ');
        }
        assert_string_equal(buf_str(&out), cases[i].ids);
        buf_free(&out);
        arena_destroy(arena);
    }
}

/* A message is "id parent,parent subject"; its number and date are its place, from 1. */
static void threads_are(enum thread_algorithm algorithm, const char *const messages[], const char *expected) {
    struct arena *arena = arena_create();
    struct thread_message list[32] = {0};
    size_t count = 0;
    struct buf out = {0};
    for (; messages[count]; count++) {
        char id[40], parents[200], subject[40];
        struct buf header = {0};
        assert_int_equal(sscanf(messages[count], "%39s %199s %39[^\n]", id, parents, subject), 3);
        buf_printf(&header, "Subject: %s\r\nMessage-ID: <%s@x>\r\nReferences:", strcmp(subject, "-") ? subject : "",
                   id);
        for (char *at = strtok(parents, ","); at; at = strtok(NULL, ","))
            if (strcmp(at, "-") != 0) buf_printf(&header, " <%s@x>", at);
        buf_add_str(&header, "\r\n");
        thread_read_message(arena, arena_slice(arena, buf_slice(&header)), &list[count]);
        buf_free(&header);
        list[count].number = (uint32_t)count + 1;
        list[count].sent = list[count].arrival = (int64_t)count;
    }
    thread_write(arena, algorithm, count, list, &out);
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
    arena_destroy(arena);
}

#define THREADS(algorithm, expected, ...) threads_are(algorithm, (const char *const[]){__VA_ARGS__, NULL}, expected)

static void threads_by_references(void **state) {
    (void)state;
    THREADS(THREAD_REFERENCES, "(1)(2)", "a - x", "b - y");
    THREADS(THREAD_REFERENCES, "(1 2 3)", "a - x", "b a Re: x", "c a,b Re: x");
    THREADS(THREAD_REFERENCES, "(1 (2)(3))", "a - x", "b a Re: x", "c a Re: x");
    THREADS(THREAD_REFERENCES, "(1 (2 3)(4))", "a - x", "b a Re: x", "c a,b Re: x", "d a Re: x");
    /* the parent comes later */
    THREADS(THREAD_REFERENCES, "(2 1)", "b a Re: x", "a - x");
    /* a parent that is missing: two children have a dummy, one is promoted (step 3) */
    THREADS(THREAD_REFERENCES, "((1)(2))", "b a x", "c a y");
    THREADS(THREAD_REFERENCES, "(1)", "b a x");
    THREADS(THREAD_REFERENCES, "(1 2)", "a - x", "c a,b y");
    THREADS(THREAD_REFERENCES, "((1)(2)(3))", "b r,d x", "c r,d y", "e r z");
    /* loops are not made */
    THREADS(THREAD_REFERENCES, "(2 1)", "a b x", "b a y");
    THREADS(THREAD_REFERENCES, "(1)", "a a x");
    /* two with one id: the second has an id of its own */
    THREADS(THREAD_REFERENCES, "(1 3)(2)", "a - x", "a - y", "c a z");
    /* step 5: a reply without references gets below the message with its subject */
    THREADS(THREAD_REFERENCES, "(1 2)", "a - x", "b - Re: x");
    THREADS(THREAD_REFERENCES, "(2 1)", "a - Re: x", "b - X");
    /* two that are no replies: below a dummy */
    THREADS(THREAD_REFERENCES, "((1)(2))", "a - x", "b - x");
    THREADS(THREAD_REFERENCES, "((1)(2)(3))", "a - x", "b - x", "c - x");
    /* both dummies: their children become siblings */
    THREADS(THREAD_REFERENCES, "((1)(2)(3)(4))", "a p x", "b p Re: x", "c q x", "d q Re: x");
    /* an empty subject joins nothing */
    THREADS(THREAD_REFERENCES, "(1)(2)", "a - -", "b - -");
}

static void threads_by_refs_have_the_newest_last(void **state) {
    (void)state;
    THREADS(THREAD_REFS, "(2)(1 3)", "a - x", "b - x", "c a y");
    THREADS(THREAD_REFS, "(1)(2)", "a - x", "b - Re: x");
}

static void threads_by_subject(void **state) {
    (void)state;
    THREADS(THREAD_ORDERED_SUBJECT, "(1 2)(3)", "a - x", "b - Re: X", "c - y");
    THREADS(THREAD_ORDERED_SUBJECT, "(1 (3)(4))(2)", "a - x", "b - y", "c - re: x", "d - [fwd: x]");
}

/* Without recursion, and in reasonable time. */
static void a_chain_of_many_messages_is_one_thread(void **state) {
    enum { COUNT = 100000 };
    struct arena *arena = arena_create();
    struct thread_message *list = arena_alloc(arena, COUNT * sizeof *list);
    struct buf out = {0}, expected = {0};
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        struct slice *parent = arena_alloc(arena, sizeof *parent);
        list[i].number = (uint32_t)i + 1;
        list[i].sent = list[i].arrival = (int64_t)i;
        list[i].id = slice_of(arena_printf(arena, "%zu@x", i));
        if (i) list[i].references = parent, list[i].reference_count = 1, *parent = list[i - 1].id;
        buf_printf(&expected, i ? " %zu" : "(%zu", i + 1);
    }
    buf_add_char(&expected, ')');
    thread_write(arena, THREAD_REFERENCES, COUNT, list, &out);
    assert_string_equal(buf_str(&out), buf_str(&expected));
    buf_reset(&out);
    thread_write(arena, THREAD_REFS, COUNT, list, &out);
    assert_string_equal(buf_str(&out), buf_str(&expected));
    buf_free(&out);
    buf_free(&expected);
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_subjects),
        cmocka_unit_test(casemap_is_title_case_and_decomposed),
        cmocka_unit_test(sent_dates),
        cmocka_unit_test(sort_values_of_addresses),
        cmocka_unit_test(sort_programs),
        cmocka_unit_test(partial_ranges),
        cmocka_unit_test(message_ids_are_normalized),
        cmocka_unit_test(threads_by_references),
        cmocka_unit_test(threads_by_refs_have_the_newest_last),
        cmocka_unit_test(threads_by_subject),
        cmocka_unit_test(a_chain_of_many_messages_is_one_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
