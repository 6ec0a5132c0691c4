/* IMAP's grammar and sets, and search keys against a message, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/imapd/fetch/fetch.h"
#include "services/imapd/search/search.h"
#include "services/imapd/search/search_text.h"

static struct parser on(struct arena *arena, const char *text) {
    return (struct parser){text, text + strlen(text), arena};
}

static void sets_are_sorted_joined_and_resolved(void **state) {
    static const struct {
        const char *set, *numbers; /* NULL: no set */
        uint32_t largest;
    } cases[] = {
        {"1", "1", 10},
        {"1:3", "1:3", 10},
        {"3:1", "1:3", 10},
        {"1,2,3", "1:3", 10},
        {"5:*", "5:10", 10},
        {"*:8", "8:10", 10},
        {"*", "10", 10},
        {"12:*", "10:12", 10}, /* RFC 9051 §9 */
        {"2:4,3:6", "2:6", 10},
        {"0", NULL, 10},
        {"", NULL, 10},
        {"1:", NULL, 10},
        {":1", NULL, 10},
        {"4294967295", "", 10},
        {"11:4294967295", "11:19", 10},
        {"a", NULL, 10},
        {"4294967296", NULL, 10},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct parser p = on(arena, cases[i].set);
        struct set set;
        struct buf out = {0};
        bool parsed = parse_set(&p, &set) && parse_end(&p);
        if (parsed != (cases[i].numbers != NULL)) print_error("%s\n", cases[i].set);
        assert_int_equal(parsed, cases[i].numbers != NULL);
        if (parsed) {
            uint32_t numbers[64];
            size_t n = 0;
            set_resolve(&set, cases[i].largest);
            for (uint32_t k = 1; k < 20; k++)
                if (set_has(&set, k)) numbers[n++] = k;
            set_write(&out, n, numbers);
            assert_string_equal(buf_str(&out), cases[i].numbers);
        }
        buf_free(&out);
        arena_destroy(arena);
    }
}

static void strings_come_in_three_forms(void **state) {
    static const struct {
        const char *text, *value; /* NULL: refused */
    } cases[] = {
        {"atom", "atom"},      {"\"quoted \\\"x\\\" \\\\\"", "quoted \"x\" \\"},
        {"{3}\r\nabc", "abc"}, {"{3+}\r\nabc", "abc"},
        {"{0}\r\n", ""},       {"\"\"", ""},
        {"\"unclosed", NULL},  {"{3}\r\nab", NULL},
        {"{3}abc", NULL},      {"(", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct parser p = on(arena, cases[i].text);
        struct slice value;
        bool parsed = parse_astring(&p, &value);
        assert_int_equal(parsed, cases[i].value != NULL);
        if (parsed) assert_true(slice_is(value, cases[i].value));
        arena_destroy(arena);
    }
}

static void sections_give_the_bytes_they_name(void **state) {
    static const char message[] =
        "From: a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
        "text/plain\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep\r\n--b--\r\n";
    static const struct {
        const char *section, *bytes; /* NULL: there is none */
    } cases[] = {
        {"[1]", "one"},
        {"[1.MIME]", "Content-Type: text/plain\r\n\r\n"},
        {"[2.HEADER]", "Subject: inner\r\n\r\n"},
        {"[2.TEXT]", "deep"},
        {"[2.HEADER.FIELDS (Subject)]", "Subject: inner\r\n\r\n"},
        {"[HEADER.FIELDS.NOT (Content-Type)]", "From: a\r\n\r\n"},
        {"[3]", NULL},
        {"[1.1]", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct parser p = on(arena, cases[i].section);
        struct section section = {0};
        struct buf out = {0};
        assert_true(parse_section(&p, &section));
        struct slice bytes = SLICE("");
        bool found = section_find(mime_parse(arena, slice_of(message)), &section, &out, &bytes);
        if (found != (cases[i].bytes != NULL)) print_error("%s: \"%.*s\"\n", cases[i].section, SLICE_FMT(bytes));
        assert_int_equal(found, cases[i].bytes != NULL);
        if (found) assert_true(slice_is(bytes, cases[i].bytes));
        buf_free(&out);
        arena_destroy(arena);
    }
}

static void search_keys_decide(void **state) {
    static const char text[] =
        "From: Ann <ann@a.test>\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nDate: Tue, 24 Nov 2026 23:30:00 "
        "-0800\r\nContent-Transfer-Encoding: base64\r\n\r\nc2Now7Zu\r\n";
    static const struct {
        const char *keys;
        bool fits;
    } cases[] = {
        {"ALL", true},
        {"SEEN FLAGGED", true},
        {"UNSEEN", false},
        {"OR UNSEEN FLAGGED", true},
        {"NOT (SEEN FLAGGED)", false},
        {"SUBJECT \"gr\xc3\xbc\xc3\x9f\"", true},
        {"FROM ANN@A", true},
        {"TO x", false},
        {"BODY \"sch\xc3\xb6n\"", true},
        {"TEXT \"gr\xc3\xbc\"", true},
        {"LARGER 99", true},
        {"LARGER 100", false},
        {"SMALLER 101", true},
        {"SENTON 24-Nov-2026", true}, /* the sender's own day */
        {"SENTSINCE 25-Nov-2026", false},
        {"ON 1-Jan-1970", false},
        {"SINCE 24-Nov-2026", true},
        {"UID 7", true},
        {"UID 8:9", false},
        {"1", true},
        {"KEYWORD work", true},
        {"UNKEYWORD work", false},
        {"MODSEQ 5", true},
        {"MODSEQ 6", false},
        {"NEW", false},
        {"OLD", true},
        {"HEADER Subject \"\"", true},
        {"HEADER X-None \"\"", false},
    };
    (void)state;
    const struct mailbox_folder folder = {.id = 1, .uidnext = 8, .keyword_count = 1, .keywords = {SLICE("work")}};
    struct mailbox_record record = {.uid = 7,
                                    .size = 100,
                                    .modseq = 5,
                                    .flags = MAILBOX_SEEN | MAILBOX_FLAGGED | 1ull << MAILBOX_KEYWORD_SHIFT,
                                    .date = 1795513277};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct session *s = memory_alloc(sizeof *s);
        struct search search = {0};
        struct parser p = on(arena, cases[i].keys);
        s->arena = arena;
        view_tell(&s->view, version_after(NULL, &folder, true, 1, &record, 0, NULL));
        const char *wrong = parse_search(&p, s, &search);
        if (wrong) print_error("%s: %s\n", cases[i].keys, wrong);
        assert_null(wrong);
        bool found[8] = {false};
        struct text_search *texts = text_search_create(slice_of(text), search.text_count, search.texts, found);
        while (text_search_step(texts)) continue;
        text_search_destroy(texts);
        struct search_message m = {&s->view, &record, slice_of(text), NULL, found};
        if (search_fits(search.root, &m) != cases[i].fits) print_error("%s\n", cases[i].keys);
        assert_int_equal(search_fits(search.root, &m), cases[i].fits);
        struct buf packed = {0};
        struct mailbox_keys keys;
        mailbox_keys_build(slice_of(text), &packed);
        assert_true(mailbox_keys_read(buf_slice(&packed), &keys));
        struct search_message kept = {&s->view, &record, SLICE(""), &keys, NULL};
        if (search.need == NEED_KEYS) assert_int_equal(search_fits(search.root, &kept), cases[i].fits);
        buf_free(&packed);
        version_release(s->view.told);
        free(s);
        arena_destroy(arena);
    }
    static const char *const bad[] = {"",         "NONSENSE", "OR SEEN",  "NOT",       "(SEEN", "SINCE yesterday",
                                      "LARGER x", "UID",      "HEADER x", "SEEN extra"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct arena *arena = arena_create();
        struct session *s = memory_alloc(sizeof *s);
        struct search search = {0};
        struct parser p = on(arena, bad[i]);
        s->arena = arena;
        assert_non_null(parse_search(&p, s, &search));
        free(s);
        arena_destroy(arena);
    }
}

/* A batch of listings holds about LIMIT_CACHED_BYTES, whatever their size. */
static void batches_of_listings_are_bounded(void **state) {
    static const struct {
        size_t asked, bytes, next;
    } cases[] = {
        {60, 60 * 800, 120},
        {400, 400 * 800, 500},
        {500, 500 * 800, 500},
        {60, (size_t)60 * 256 * 1024, 7},
        {7, (size_t)7 * 256 * 1024, 7},
        {1, (size_t)50 * 1024 * 1024, 1},
        {500, 0, 500},
        {0, 0, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(fetch_next_batch(cases[i].asked, cases[i].bytes), cases[i].next);
}

static void a_budget_is_given_back(void **state) {
    struct budget b = {.max = 1000000};
    size_t one, two, small;
    (void)state;
    assert_true(budget_take(&b, 600000, &one));
    assert_false(budget_take(&b, 600000, &two));
    assert_int_equal(two, 0);
    assert_true(budget_take(&b, BUDGET_FREE, &small));
    assert_int_equal(small, 0);
    budget_give(&b, &one);
    budget_give(&b, &one);
    assert_true(budget_take(&b, 1000000, &two));
    budget_give(&b, &two);
    assert_int_equal(b.used, 0);
    assert_false(budget_take(&b, SIZE_MAX, &two));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_sorted_joined_and_resolved), cmocka_unit_test(strings_come_in_three_forms),
        cmocka_unit_test(sections_give_the_bytes_they_name),   cmocka_unit_test(search_keys_decide),
        cmocka_unit_test(batches_of_listings_are_bounded),     cmocka_unit_test(a_budget_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
