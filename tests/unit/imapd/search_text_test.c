/* A search in a message's texts: case, charsets, transfer encodings, and needles that lie across
 * the pieces in which a long text is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/base/base64.h"
#include "services/imapd/search/search_text.h"

static void case_is_folded_as_unicode_says(void **state) {
    static const struct {
        const char *one, *other;
        bool same;
    } cases[] = {
        {"K\u00c4SE", "k\u00e4se", true},
        {"Stra\u00dfe", "STRASSE", true},
        {"\u041f\u0420\u0418", "\u043f\u0440\u0438", true},
        {"\u03a3\u03c2", "\u03c3\u03c3", true}, /* final sigma */
        {"a\u0308", "\u00e4", true},            /* combined or not */
        {"\ufb01n", "FIN", true},               /* a ligature */
        {"\u00e4", "a", false},
        {"\xff", "\ufffd", true},
        {"", "", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf one = {0}, other = {0};
        text_fold(slice_of(cases[i].one), &one);
        text_fold(slice_of(cases[i].other), &other);
        if (slice_equal(buf_slice(&one), buf_slice(&other)) != cases[i].same) print_error("%s\n", cases[i].one);
        assert_int_equal(slice_equal(buf_slice(&one), buf_slice(&other)), cases[i].same);
        buf_free(&one);
        buf_free(&other);
    }
}

static bool has(struct slice message, const char *needle, size_t *steps) {
    struct buf folded = {0};
    bool found = false;
    text_fold(slice_of(needle), &folded);
    struct slice text = buf_slice(&folded);
    struct text_search *t = text_search_create(message, 1, &text, &found);
    *steps = 1;
    while (text_search_step(t)) ++*steps;
    text_search_destroy(t);
    buf_free(&folded);
    return found;
}

enum encoding { PLAIN, QUOTED, BASE64, BASE64_ODD_LINES, ENCODINGS };

/* "привет" in windows-1251 among as many other letters as asked for. */
static void make_message(struct buf *out, enum encoding encoding, size_t before, size_t after, size_t line) {
    static const char word[] = "\xcf\xf0\xe8\xe2\xe5\xf2";
    static const char *const names[] = {"8bit", "quoted-printable", "base64", "base64"};
    struct buf text = {0}, encoded = {0};
    for (size_t i = 0; i < before; i++) buf_add_char(&text, i % line == line - 1 ? '\n' : 'x');
    buf_add_str(&text, word);
    for (size_t i = 0; i < after; i++) buf_add_char(&text, i % line == line - 1 ? '\n' : 'y');
    buf_printf(out, "Content-Type: text/plain; charset=windows-1251\r\nContent-Transfer-Encoding: %s\r\n\r\n",
               names[encoding]);
    if (encoding == PLAIN) buf_add_slice(&encoded, buf_slice(&text));
    if (encoding == QUOTED)
        for (size_t i = 0; i < text.n; i++) {
            if (i % 70 == 69) buf_add_str(&encoded, "=\r\n");
            if (text.data[i] == '\n' || (unsigned char)text.data[i] >= 0x80)
                buf_printf(&encoded, "=%02X", (unsigned char)text.data[i]);
            else
                buf_add_char(&encoded, text.data[i]);
        }
    if (encoding >= BASE64) base64_encode(buf_slice(&text), &encoded);
    size_t width = encoding == BASE64 ? 76 : encoding == BASE64_ODD_LINES ? 73 : encoded.n + 1;
    for (size_t i = 0; i < encoded.n; i += width) {
        buf_add_slice(out, slice_head(slice_skip(buf_slice(&encoded), i), width));
        buf_add_str(out, "\r\n");
    }
    buf_free(&text);
    buf_free(&encoded);
}

static void a_needle_across_pieces_is_found(void **state) {
    (void)state;
    for (int encoding = PLAIN; encoding < ENCODINGS; encoding++)
        for (size_t line = 70; line < 10000000; line += 9999000)
            for (int shift = -14; shift <= 4; shift += 2) {
                struct buf message = {0};
                size_t steps, factor = encoding >= BASE64 ? 3 : 4;
                make_message(&message, (enum encoding)encoding, (size_t)((int)(TEXT_STEP * factor / 4) + shift), 5000,
                             line);
                if (!has(buf_slice(&message), "\u041f\u0440\u0438\u0432\u0435\u0442", &steps))
                    fail_msg("encoding %d, lines of %zu, shift %d", encoding, line, shift);
                assert_false(has(buf_slice(&message), "\u041f\u0440\u0438\u0432\u0435\u0442\u0430", &steps));
                assert_true(steps >= 2);
                buf_free(&message);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_is_folded_as_unicode_says),
        cmocka_unit_test(a_needle_across_pieces_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
