/* What is made of a message for lists and searches: the preview, BODY
 * out of BODYSTRUCTURE, and the keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libcommon/mail/preview.h"
#include "libcommon/mail/structure.h"
#include "libcommon/store/mailbox.h"

static void previews(void **state) { /* RFC 8970 */
    static const struct {
        const char *message, *preview;
    } cases[] = {
        {"\r\nHello,\r\n\r\n\tworld  and   all\r\n", "Hello, world and all"},
        {"\r\n> quoted\r\nmine\r\n", "mine"},
        {"Content-Type: text/html\r\n\r\n<html><head><title>no</title></head><style>p{}</style><body>A &amp; "
         "b<br>c&nbsp;&euro;<!-- > --> 1 < 2</body>",
         "A & b c 1 < 2"},
        {"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E4",
         "\u00e4"},
        {"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n", "hello"},
        {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\nContent-Disposition: "
         "attachment\r\n\r\nno\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>yes\r\n--b--\r\n",
         "yes"},
        {"Content-Type: image/png\r\n\r\nx", ""},
        {"Subject: only a header\r\n", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_create();
        struct buf out = {0};
        preview_build(mime_parse(arena, slice_of(cases[i].message)), &out);
        assert_string_equal(buf_str(&out), cases[i].preview);
        buf_free(&out);
        arena_destroy(arena);
    }
}

static void a_preview_ends_between_characters(void **state) {
    struct arena *arena = arena_create();
    struct buf message = {0}, out = {0};
    (void)state;
    buf_add_str(&message, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
    for (int i = 0; i < 1000; i++) buf_add_str(&message, "\u00e4");
    preview_build(mime_parse(arena, buf_slice(&message)), &out);
    assert_int_equal(out.n, 2 * PREVIEW_CHARACTERS);
    buf_free(&message);
    buf_free(&out);
    arena_destroy(arena);
}

static void body_out_of_bodystructure(void **state) { /* RFC 9051 §7.5.2 */
    static const char *const messages[] = {
        "\r\nplain",
        "Content-Type: image/png; name=\"a(b\\\"c\"\r\nContent-MD5: x\r\nContent-Disposition: inline; "
        "filename=f\r\n\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        "Subject: \u00e4 (\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c\r\n"
        "Content-Type: text/html\r\n\r\ny\r\n--c--\r\n--b\r\nContent-Language: de, en\r\n\r\nlast\r\n--b--\r\n",
        "Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\nno part",
    };
    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        struct arena *arena = arena_create();
        struct buf whole = {0}, basic = {0}, expected = {0};
        const struct mime *m = mime_parse(arena, slice_of(messages[i]));
        structure_body(m, true, &whole);
        structure_body(m, false, &expected);
        assert_true(structure_basic(buf_slice(&whole), &basic));
        assert_string_equal(buf_str(&basic), buf_str(&expected));
        for (size_t n = 0; n < whole.n; n++) { /* a part of it is malformed */
            buf_reset(&basic);
            assert_false(structure_basic(slice_head(buf_slice(&whole), n), &basic));
            assert_int_equal(basic.n, 0);
        }
        buf_free(&whole);
        buf_free(&basic);
        buf_free(&expected);
        arena_destroy(arena);
    }
}

static void keys_are_read_as_they_were_built(void **state) {
    struct buf packed = {0};
    struct mailbox_keys keys;
    (void)state;
    mailbox_keys_build(
        SLICE("Message-ID: <1@x>\r\nReferences: <a@x> <b@x>\r\nIn-Reply-To: <b@x> <c@x>\r\n"
              "Date: Thu, 1 Jan 1970 23:00:00 -0200\r\nSubject: Re: =?utf-8?q?K=C3=84SE?=\r\n"
              "From: =?utf-8?q?Ann=C3=84?= <Ann@x.test>\r\nTo: Bob@x.test, c@x.test\r\nTo: d@x.test\r\n"),
        &packed);
    assert_true(mailbox_keys_read(buf_slice(&packed), &keys));
    assert_int_equal(keys.id_count, 4);
    assert_int_equal(mailbox_keys_id(&keys, 0), mailbox_message_id_hash(SLICE("1@x")));
    assert_int_equal(mailbox_keys_id(&keys, 3), mailbox_message_id_hash(SLICE("c@x")));
    assert_int_equal(keys.sent, 90000);
    assert_int_equal(keys.sent_day, 0);
    assert_true(slice_equal(keys.to, SLICE("bob@x.test, c@x.test\0d@x.test")));
    assert_true(slice_equal(keys.subject, SLICE("re: ka\u0308se\0re: =?utf-8?q?k=c3=84se?=")));
    assert_int_equal(keys.cc.n, 0);
    for (size_t n = 0; n < packed.n; n++) assert_false(mailbox_keys_read(slice_head(buf_slice(&packed), n), &keys));
    buf_free(&packed);
}

static void keys_have_bounds(void **state) {
    struct buf header = {0}, packed = {0};
    struct mailbox_keys keys;
    (void)state;
    buf_add_str(&header, "To: ");
    for (int i = 0; i < 1000; i++) buf_printf(&header, "someone%d@x.test, ", i);
    buf_add_str(&header, "\r\nReferences:");
    for (int i = 0; i < 100; i++) buf_printf(&header, " <%d@x>", i);
    buf_add_str(&header, "\r\n");
    mailbox_keys_build(buf_slice(&header), &packed);
    assert_true(mailbox_keys_read(buf_slice(&packed), &keys));
    assert_null(keys.to.p);                           /* to be read in the header */
    assert_int_equal(keys.id_count, MAILBOX_IDS_MAX); /* the nearest ones */
    assert_int_equal(mailbox_keys_id(&keys, 0), 0);
    assert_int_equal(mailbox_keys_id(&keys, MAILBOX_IDS_MAX - 1), mailbox_message_id_hash(SLICE("99@x")));
    assert_int_equal(keys.sent, MAILBOX_NO_DATE);
    buf_free(&header);
    buf_free(&packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(previews),
        cmocka_unit_test(a_preview_ends_between_characters),
        cmocka_unit_test(body_out_of_bodystructure),
        cmocka_unit_test(keys_are_read_as_they_were_built),
        cmocka_unit_test(keys_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
