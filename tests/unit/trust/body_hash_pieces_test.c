/* The body's hash is the same however the body comes in, and is that of the canonical form written
 * the slow way (RFC 6376 §3.4.3, §3.4.4). */
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/trust/dkim/body_hash.h"

static unsigned random_state = 7;
static unsigned any(unsigned below) { return (random_state = random_state * 1664525u + 1013904223u) / 0x10000 % below; }

/* A body with all that the canonical forms look at: blanks inside and at ends of lines, empty
 * lines, CR and LF alone, lines longer than any buffer. */
static void write_body(struct buf *out) {
    static const char *const parts[] = {"word",
                                        " ",
                                        "\t",
                                        "  ",
                                        " \t ",
                                        "\r\n",
                                        "\r\n\r\n",
                                        " \r\n",
                                        "\r",
                                        "\n",
                                        "\r\r\n",
                                        "b\xc3\xbc"
                                        "cher"};
    unsigned count = any(60);
    buf_reset(out);
    for (unsigned i = 0; i < count; i++) {
        if (any(40) == 0)
            for (unsigned k = any(6000); k > 0; k--) buf_add_char(out, k % 5 ? 'x' : ' ');
        buf_add_str(out, parts[any(sizeof parts / sizeof *parts)]);
    }
}

/* The canonical body, cut at length, by the letter of the RFC. */
static void canonical(struct slice body, bool relaxed, int64_t length, struct buf *out) {
    size_t kept = 0; /* up to the last line that is not empty */
    struct buf line = {0};
    bool last = false;
    buf_reset(out);
    while (!last) {
        const char *end = body.n ? memmem(body.p, body.n, "\r\n", 2) : NULL;
        struct slice text = end ? slice_head(body, (size_t)(end - body.p)) : body;
        last = !end;
        body = end ? slice_skip(body, text.n + 2) : slice_head(body, 0);
        if (last && !text.n) break;
        buf_reset(&line);
        for (size_t i = 0; i < text.n; i++) {
            bool blank = text.p[i] == ' ' || text.p[i] == '\t';
            if (!relaxed || !blank)
                buf_add_char(&line, text.p[i]);
            else if (!line.n || line.data[line.n - 1] != ' ')
                buf_add_char(&line, ' ');
        }
        if (relaxed && line.n && line.data[line.n - 1] == ' ') line.n--;
        buf_add_slice(out, buf_slice(&line));
        buf_add_str(out, "\r\n");
        if (line.n) kept = out->n;
    }
    out->n = kept;
    if (!kept && !relaxed) {
        buf_reset(out);
        buf_add_str(out, "\r\n");
    }
    if (length >= 0 && (uint64_t)length < out->n) out->n = (size_t)length;
    buf_free(&line);
}

static void any_body_in_any_pieces_has_the_hash_of_its_canonical_form(void **state) {
    struct buf body = {0}, expected = {0};
    (void)state;
    for (int i = 0; i < 3000; i++) {
        bool relaxed = any(2);
        int64_t length = any(3) ? -1 : (int64_t)any(500);
        unsigned char digest[BODY_HASH_BYTES], right[BODY_HASH_BYTES];
        uint64_t hashed;
        unsigned piece = any(4) ? 1 + any(50) : 1 + any(9000);
        write_body(&body);
        canonical(buf_slice(&body), relaxed, length, &expected);
        assert_int_equal(EVP_Digest(expected.n ? expected.data : "", expected.n, right, NULL, EVP_sha256(), NULL), 1);
        struct body_hash *h = body_hash_create((struct body_hash_kind){relaxed, length});
        for (struct slice rest = buf_slice(&body); rest.n; rest = slice_skip(rest, piece))
            body_hash_update(h, slice_head(rest, piece));
        body_hash_finish(h, digest, &hashed);
        assert_int_equal(hashed, expected.n);
        assert_memory_equal(digest, right, sizeof right);
    }
    buf_free(&body);
    buf_free(&expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_body_in_any_pieces_has_the_hash_of_its_canonical_form)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
