/* How a message goes onto the wire after DATA (RFC 5321 §4.5.2), wherever it is cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/base/arena.h"
#include "services/delivery/session/stuffing.h"

/* What the receiver makes of the wire's bytes: lines end with CRLF, the first lone dot ends the
 * text, one leading dot is removed. Answers how many bytes it used; 0: no end. */
static size_t receive(struct slice wire, struct buf *text) {
    size_t at = 0;
    while (at < wire.n) {
        struct slice rest = slice_skip(wire, at);
        const char *end = memmem(rest.p, rest.n, "\r\n", 2);
        if (!end) return 0;
        struct slice line = slice_head(rest, (size_t)(end - rest.p));
        at += line.n + 2;
        if (slice_is(line, ".")) return at;
        if (line.n && *line.p == '.') line = slice_skip(line, 1);
        buf_add_slice(text, line);
        buf_add_str(text, "\r\n");
    }
    return 0;
}

static void send_in_pieces(struct slice text, size_t first, size_t second, struct buf *wire) {
    struct stuffing s = {0};
    stuffing_add(&s, slice_head(text, first), wire);
    stuffing_add(&s, slice_head(slice_skip(text, first), second), wire);
    stuffing_add(&s, slice_skip(text, first + second), wire);
    stuffing_end(&s, wire);
    buf_add_str(wire, ".\r\n");
}

static void what_goes_onto_the_wire(void **state) {
    static const struct {
        const char *text, *wire;
    } cases[] = {
        {"", ".\r\n"},
        {"a", "a\r\n.\r\n"},
        {"a\r\n", "a\r\n.\r\n"},
        {".", "..\r\n.\r\n"},
        {"a\r\n.\r\nMAIL FROM:<x@y>\r\n", "a\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\n"},
        {"\r\n\r\n", "\r\n\r\n.\r\n"},
        {"a\n.\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"}, /* no bare LF or CR leaves, and nothing hides
                                                     behind one */
        {"a\r.\rb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
        {"a\r\r\n.\r\n", "a\r\n\r\n..\r\n.\r\n"},
        {"a\r", "a\r\n.\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice text = slice_of(cases[i].text);
        for (size_t first = 0; first <= text.n; first++)
            for (size_t second = 0; first + second <= text.n; second++) {
                struct buf wire = {0};
                send_in_pieces(text, first, second, &wire);
                if (!slice_is(buf_slice(&wire), cases[i].wire))
                    fail_msg("case %zu cut at %zu and %zu", i, first, second);
                buf_free(&wire);
            }
    }
}

/* A line end, and a line with a lone dot, at every offset around where pieces of the body end: the
 * receiver reads the whole message and nothing after it. Before, the CR of a CRLF at the end of a
 * piece let the next line's dot through. */
static void a_dot_after_a_piece_ends_nothing(void **state) {
    static const size_t pieces[] = {65536, 262144, 1048576};
    static const char hidden[] = "\r\n.\r\nMAIL FROM:<smuggled@a.test>\r\n";
    (void)state;
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
        for (size_t at = pieces[p] - 8; at < pieces[p] + 4; at++) {
            struct buf text = {0}, wire = {0}, got = {0};
            memset(buf_reserve(&text, at), 'x', at);
            text.n = at;
            buf_add_str(&text, hidden);
            struct stuffing s = {0};
            for (size_t done = 0; done < text.n; done += 65536)
                stuffing_add(&s, slice_head(slice_skip(buf_slice(&text), done), 65536), &wire);
            stuffing_end(&s, &wire);
            buf_add_str(&wire, ".\r\n");
            assert_int_equal(receive(buf_slice(&wire), &got), wire.n);
            assert_true(slice_equal(buf_slice(&got), buf_slice(&text)));
            buf_free(&text);
            buf_free(&wire);
            buf_free(&got);
        }
}

/* Any bytes in any pieces: what comes out has CRLF only, ends once, and is the same as in one
 * piece. */
static void pieces_change_nothing(void **state) {
    static const char alphabet[] = {'\r', '\n', '.', 'a'};
    unsigned seed = 7;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[12];
        size_t n = (size_t)rand_r(&seed) % (sizeof text + 1);
        for (size_t i = 0; i < n; i++) text[i] = alphabet[rand_r(&seed) % 4];
        size_t first = n ? (size_t)rand_r(&seed) % (n + 1) : 0, second = (size_t)rand_r(&seed) % (n - first + 1);
        struct buf whole = {0}, pieces = {0}, got = {0};
        send_in_pieces(slice_make(text, n), n, 0, &whole);
        send_in_pieces(slice_make(text, n), first, second, &pieces);
        assert_true(slice_equal(buf_slice(&whole), buf_slice(&pieces)));
        assert_int_equal(receive(buf_slice(&whole), &got), whole.n);
        for (size_t i = 0; i < whole.n; i++) {
            if (whole.data[i] == '\n') assert_true(i && whole.data[i - 1] == '\r');
            if (whole.data[i] == '\r') assert_true(i + 1 < whole.n && whole.data[i + 1] == '\n');
        }
        buf_free(&whole);
        buf_free(&pieces);
        buf_free(&got);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_onto_the_wire),
        cmocka_unit_test(a_dot_after_a_piece_ends_nothing),
        cmocka_unit_test(pieces_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
