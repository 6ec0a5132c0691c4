/* Parts by their places, and what IMAP tells of them (RFC 2046 §5.1, RFC 2231, RFC 9051 §6.4.5,
 * §7.5.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/mail/header.h"
#include "libcommon/mail/structure.h"

/* A multipart/mixed of a text, and of a message that is a multipart/alternative of two. */
static const char nested[] =
    "From: a@x.test\r\nSubject: outer\r\nContent-Type: multipart/mixed; boundary=\"b 1\"\r\n\r\npreamble\r\n"
    "--b 1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nh=C3=A9 "
    "=\r\nx  \r\nend\r\n"
    "--b 1 \r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"a;b.eml\"\r\n\r\n"
    "From: c@y.test\r\nSubject: inner\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
    "--c\r\n\r\nplain\r\n--c\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: "
    "base64\r\n\r\naGVsbG8=\r\n--c--\r\n"
    "\r\n--b 1--\r\nepilogue\r\n--b 1\r\nnot a part\r\n";

static void assert_section(const struct mime *m, enum mime_section section, const char *expected, size_t n,
                           const uint32_t numbers[]) {
    struct slice s;
    bool found = mime_section(m, n, numbers, section, &s);
    if (!expected) {
        assert_false(found);
        return;
    }
    assert_true(found);
    if (!slice_is(s, expected)) print_error("got <%.*s>\n", SLICE_FMT(s));
    assert_true(slice_is(s, expected));
}

static void test_sections(void **state) {
    struct arena *arena = arena_create();
    const struct mime *m = mime_parse(arena, slice_of(nested));
    (void)state;
    assert_int_equal(m->count, 6);
    assert_int_equal(m->parts[0].child_count, 2);
    assert_section(m, MIME_SECTION_BODY, "h=C3=A9 =\r\nx  \r\nend", 1, (uint32_t[]){1});
    assert_section(m, MIME_SECTION_MIME,
                   "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", 1,
                   (uint32_t[]){1});
    assert_section(m, MIME_SECTION_HEADER,
                   "From: c@y.test\r\nSubject: inner\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n", 1,
                   (uint32_t[]){2});
    assert_section(m, MIME_SECTION_BODY, "plain", 2, (uint32_t[]){2, 1});
    assert_section(m, MIME_SECTION_BODY, "aGVsbG8=", 2, (uint32_t[]){2, 2});
    assert_section(m, MIME_SECTION_MIME, "\r\n", 2, (uint32_t[]){2, 1});
    assert_section(m, MIME_SECTION_BODY, NULL, 2, (uint32_t[]){2, 3});
    assert_section(m, MIME_SECTION_BODY, NULL, 1, (uint32_t[]){3});
    assert_section(m, MIME_SECTION_BODY, NULL, 1, (uint32_t[]){0});
    assert_section(m, MIME_SECTION_HEADER, NULL, 1, (uint32_t[]){1});
    assert_section(m, MIME_SECTION_BODY, nested, 0, NULL);
    arena_destroy(arena);
}

/* Lines that are no fields, as mbox files and broken programs leave them among the fields. */
static const char with_bad_lines[] =
    "From nobody Mon Nov 23 09:00:00 2026\r\nFrom: a@x.test\r\nno field at all\r\n\tand: its fold\r\n: no name\r\n"
    "Sp ace: x\r\nSubject: seen\r\n>From again\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    "--b\r\nFrom nobody\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\n"
    "x\r\n--b--\r\n";

static void a_line_that_is_no_field_hides_no_later_field(void **state) {
    static const char *const names[] = {"From", "Subject", "Content-Type"};
    struct arena *arena = arena_create();
    struct buf envelope = {0}, structure = {0};
    struct header_field f;
    size_t body_at, at = 0, count = 0;
    struct slice header = header_block(slice_of(with_bad_lines), &body_at);
    (void)state;
    while (header_next(header, &at, &f) == 1) {
        assert_true(count < 3);
        assert_true(slice_is(f.name, names[count++]));
        assert_ptr_equal(f.raw.p, header.p + f.offset);
    }
    assert_int_equal(count, 3);
    structure_envelope(header, &envelope);
    assert_non_null(strstr(buf_str(&envelope), "\"seen\""));
    structure_body(mime_parse(arena, slice_of(with_bad_lines)), true, &structure);
    assert_non_null(strstr(buf_str(&structure), "\"attachment\" (\"filename\" \"a.pdf\")"));
    buf_free(&envelope);
    buf_free(&structure);
    arena_destroy(arena);
}

static void test_single_part(void **state) {
    static const char message[] = "Subject: x\r\n\r\nbody\r\n";
    struct arena *arena = arena_create();
    const struct mime *m = mime_parse(arena, slice_of(message));
    (void)state;
    assert_section(m, MIME_SECTION_BODY, "body\r\n", 1, (uint32_t[]){1});
    assert_section(m, MIME_SECTION_HEADER, "Subject: x\r\n\r\n", 0, NULL);
    assert_section(m, MIME_SECTION_TEXT, "body\r\n", 0, NULL);
    assert_section(m, MIME_SECTION_BODY, NULL, 2, (uint32_t[]){1, 1});
    arena_destroy(arena);
}

static void test_decoding(void **state) {
    struct arena *arena = arena_create();
    struct buf out = {0};
    const struct mime *m = mime_parse(arena, slice_of(nested));
    (void)state;
    assert_int_equal(mime_decode_body(m, mime_find(m, 1, (uint32_t[]){1}), &out), 0);
    assert_string_equal(buf_str(&out), "h\xc3\xa9 x\r\nend");
    buf_reset(&out);
    assert_int_equal(mime_decode_body(m, mime_find(m, 2, (uint32_t[]){2, 2}), &out), 0);
    assert_string_equal(buf_str(&out), "hello");
    buf_free(&out);
    arena_destroy(arena);
}

static void bytes_that_are_not_base64_are_ignored(void **state) {
    /* RFC 2045 §6.8 */
    static const struct {
        const char *body, *expected;
    } cases[] = {{"aGVsbG8=", "hello"},
                 {"aGVsbG8", "hello"},
                 {"aGV!!sbG\r\n8=", "hello"},
                 {"aGVsbG8=\r\n\r\ntext after", "hello"},
                 {" a G V s b G 8 =", "hello"},
                 {"", ""},
                 {"====", ""},
                 {"aGVsb", "hel"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct buf message = {0}, out = {0};
        buf_printf(&message, "Content-Transfer-Encoding: base64\r\n\r\n%s", cases[i].body);
        const struct mime *m = mime_parse(arena, buf_slice(&message));
        assert_int_equal(mime_decode_body(m, 0, &out), 0);
        assert_string_equal(buf_str(&out), cases[i].expected);
        buf_free(&message);
        buf_free(&out);
        arena_destroy(arena);
    }
}

static void text_after_a_delimiter(void **state) {
    /* RFC 2046 §5.1.1: an exact match of the whole line is not required; a longer word is another boundary (§5.1.2) */
    static const char message[] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b "
                                  "\t\r\n\r\none\r\n--bx\r\n--b--x\r\n--b x\r\n\r\ntwo\r\n--b-- y\r\nepilogue\r\n";
    struct arena *arena = arena_create();
    const struct mime *m = mime_parse(arena, slice_of(message));
    (void)state;
    assert_int_equal(m->parts[0].child_count, 2);
    assert_section(m, MIME_SECTION_BODY, "one\r\n--bx\r\n--b--x", 1, (uint32_t[]){1});
    assert_section(m, MIME_SECTION_BODY, "two", 1, (uint32_t[]){2});
    arena_destroy(arena);
}

static void lines_of_a_message_that_is_one_empty_line(void **state) {
    static const char message[] =
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\r\n--b--\r\n";
    struct arena *arena = arena_create();
    struct buf structure = {0};
    (void)state;
    structure_body(mime_parse(arena, slice_of(message)), false, &structure);
    assert_non_null(strstr(buf_str(&structure), "\"rfc822\" NIL NIL NIL \"7bit\" 2 (NIL "));
    assert_non_null(strstr(buf_str(&structure), "\"7bit\" 0 0) 1)")); /* two bytes are one line */
    buf_free(&structure);
    arena_destroy(arena);
}

static void test_parameters(void **state) {
    /* RFC 2231 §3, §4, §4.1, and what senders do instead */
    static const struct {
        const char *value, *name, *expected;
    } cases[] = {
        {"text/plain; charset=us-ascii (Plain text)", "charset", "us-ascii"},
        {"text/plain; charset=\"us-ascii\"", "charset", "us-ascii"},
        {"message/external-body; access-type=URL;\r\n URL*0=\"ftp://\";\r\n "
         "URL*1=\"cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar\"",
         "url", "ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"},
        {"application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "title", "This is ***fun***"},
        {"application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n "
         "title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n title*2=\"isn't it!\"",
         "title", "This is even more ***fun*** isn't it!"},
        {"attachment; filename=\"plain.txt\"; filename*=utf-8''%e2%82%ac.txt", "filename", "\xe2\x82\xac.txt"},
        {"attachment; filename=\"a\\\"b;c.txt\"", "filename", "a\"b;c.txt"},
        {"attachment; filename=two words.txt", "filename", "two"},
        {"multipart/mixed; boundary=\"=_x\";", "boundary", "=_x"},
        {"multipart/mixed; boundary=", "boundary", ""},
        {"multipart/mixed", "boundary", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct mime_value *value = arena_alloc(arena, sizeof *value);
        struct slice found;
        mime_read_value(arena, slice_of(cases[i].value), value);
        if (cases[i].expected) {
            assert_true(mime_parameter(value, cases[i].name, &found));
            if (!slice_is(found, cases[i].expected)) print_error("%s: got <%.*s>\n", cases[i].value, SLICE_FMT(found));
            assert_true(slice_is(found, cases[i].expected));
        } else {
            assert_false(mime_parameter(value, cases[i].name, &found));
        }
        arena_destroy(arena);
    }
}

static void assert_structure(const char *message, bool extended, const char *expected) {
    struct arena *arena = arena_create();
    struct buf out = {0};
    structure_body(mime_parse(arena, slice_of(message)), extended, &out);
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
    arena_destroy(arena);
}

static void test_structures(void **state) {
    (void)state;
    assert_structure("Subject: x\r\n\r\none\r\ntwo\r\n", false,
                     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2)");
    assert_structure(
        "Content-Type: TEXT/HTML; charset=utf-8\r\nContent-ID: <1@x>\r\nContent-Language: en, de\r\n\r\nx", true,
        "(\"TEXT\" \"HTML\" (\"charset\" \"utf-8\") \"<1@x>\" NIL \"7bit\" 1 0 NIL NIL (\"en\" \"de\") NIL)");
    assert_structure("Content-Type: multipart/mixed; boundary=b\r\n\r\nno parts", false,
                     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")");
    assert_structure("Content-Type: multipart/mixed\r\n\r\n--x\r\n", false,
                     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")");
    assert_structure(
        nested, false,
        "((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"quoted-printable\" 19 2)"
        "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 181 "
        "(NIL \"inner\" ((NIL NIL \"c\" \"y.test\")) ((NIL NIL \"c\" \"y.test\")) ((NIL NIL \"c\" \"y.test\")) NIL NIL "
        "NIL NIL NIL) "
        "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0)"
        "(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"base64\" 8 0) \"alternative\") 13) \"mixed\")");
}

static void test_envelope(void **state) {
    static const char header[] =
        "Date: Tue, 24 Nov 2026 09:41:17 +0000\r\nSubject: =?utf-8?q?=C3=A9?=\r\n \"x\\y\"\r\nFrom: A B <a@x.test>\r\n"
        "To: Friends: b@y.test;\r\nMessage-ID: <1@x.test>\r\nCc: J\xc3\xb6rg <j@z.test>\r\n";
    struct buf out = {0};
    (void)state;
    structure_envelope(slice_of(header), &out);
    assert_string_equal(buf_str(&out), "(\"Tue, 24 Nov 2026 09:41:17 +0000\" \"=?utf-8?q?=C3=A9?= \\\"x\\\\y\\\"\" "
                                       "((\"A B\" NIL \"a\" \"x.test\")) ((\"A B\" NIL \"a\" \"x.test\")) "
                                       "((\"A B\" NIL \"a\" \"x.test\")) ((NIL NIL \"Friends\" NIL)(NIL NIL \"b\" "
                                       "\"y.test\")(NIL NIL NIL NIL)) (({5}\r\nJ\xc3\xb6rg NIL \"j\" \"z.test\")) "
                                       "NIL NIL \"<1@x.test>\")");
    buf_free(&out);
}

/* Thousands of levels and parts: bounded, and told as such. */
static void test_bounds(void **state) {
    struct arena *arena = arena_create();
    struct buf message = {0}, out = {0};
    (void)state;
    for (int i = 0; i < 3000; i++)
        buf_printf(&message, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
    const struct mime *m = mime_parse(arena, buf_slice(&message));
    assert_true(m->bounded);
    assert_int_equal(m->count, MIME_DEPTH_MAX + 1);
    structure_body(m, true, &out);
    assert_int_equal(out.data[0], '(');
    buf_reset(&message);
    buf_add_str(&message, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for (int i = 0; i < 20000; i++) buf_add_str(&message, "--b\r\n\r\nx\r\n");
    m = mime_parse(arena, buf_slice(&message));
    assert_true(m->bounded);
    assert_int_equal(m->count, MIME_PARTS_MAX);
    buf_free(&message);
    buf_free(&out);
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections),
        cmocka_unit_test(a_line_that_is_no_field_hides_no_later_field),
        cmocka_unit_test(test_single_part),
        cmocka_unit_test(test_decoding),
        cmocka_unit_test(bytes_that_are_not_base64_are_ignored),
        cmocka_unit_test(text_after_a_delimiter),
        cmocka_unit_test(lines_of_a_message_that_is_one_empty_line),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_structures),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
