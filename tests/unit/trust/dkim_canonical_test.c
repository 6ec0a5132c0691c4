/* Canonical forms to the byte (RFC 6376 §3.4), what of a header is signed (§5.4.2, §3.7), and
 * bodies hashed in whatever pieces they arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/trust/signing.h"

static void fields_are_canonical_to_the_byte(void **state) {
    static const struct {
        const char *rule, *raw, *simple, *relaxed;
    } cases[] = {
        {"§3.4.5, first field", "A: X\r\n", "A: X\r\n", "a:X\r\n"},
        {"§3.4.5, second field", "B : Y\t\r\n\tZ  \r\n", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
        {"names in lower case", "SuBjEcT:x\r\n", "SuBjEcT:x\r\n", "subject:x\r\n"},
        {"white space before the colon", "A \t : x\r\n", "A \t : x\r\n", "a:x\r\n"},
        {"an empty value", "A:\r\n", "A:\r\n", "a:\r\n"},
        {"a value of white space", "A: \t \r\n", "A: \t \r\n", "a:\r\n"},
        {"a fold and nothing after it", "A: x\r\n \r\n", "A: x\r\n \r\n", "a:x\r\n"},
        {"nothing before a fold", "A:\r\n x\r\n", "A:\r\n x\r\n", "a:x\r\n"},
        {"several folds", "A: x\r\n\t\r\n  y\r\n", "A: x\r\n\t\r\n  y\r\n", "a:x y\r\n"},
        {"runs of both kinds", "A:  x \t\t y\t\r\n", "A:  x \t\t y\t\r\n", "a:x y\r\n"},
        {"colons in the value", "A: b: c :d\r\n", "A: b: c :d\r\n", "a:b: c :d\r\n"},
        {"bytes beyond ASCII", "A: caf\xc3\xa9 \xff\r\n", "A: caf\xc3\xa9 \xff\r\n", "a:caf\xc3\xa9 \xff\r\n"},
        {"no-break space is no white space", "A: \xc2\xa0x\xc2\xa0 \r\n", "A: \xc2\xa0x\xc2\xa0 \r\n",
         "a:\xc2\xa0x\xc2\xa0\r\n"},
        {"a CR alone is data", "A: x\ry \r\n", "A: x\ry \r\n", "a:x\ry\r\n"},
        {"a CR alone at the end is data", "A: x \r\r\n", "A: x \r\r\n", "a:x \r\r\n"},
        {"an LF alone is data", "A: x\n y\r\n", "A: x\n y\r\n", "a:x\n y\r\n"},
        {"a vertical tab is no white space", "A: x\v\f y\r\n", "A: x\v\f y\r\n", "a:x\v\f y\r\n"},
        {"a last field without its CRLF gets one", "A: x", "A: x\r\n", "a:x\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        dkim_canonical_field(slice_of(cases[i].raw), false, &out);
        if (strcmp(buf_str(&out), cases[i].simple) != 0) print_error("simple: %s\n", cases[i].rule);
        assert_string_equal(buf_str(&out), cases[i].simple);
        buf_reset(&out);
        dkim_canonical_field(slice_of(cases[i].raw), true, &out);
        if (strcmp(buf_str(&out), cases[i].relaxed) != 0) print_error("relaxed: %s\n", cases[i].rule);
        assert_string_equal(buf_str(&out), cases[i].relaxed);
        buf_free(&out);
    }
    struct buf out = {0};
    dkim_canonical_field(SLICE("A: x\0 y\r\n"), true, &out); /* NUL is a byte */
    assert_true(slice_equal(buf_slice(&out), SLICE("a:x\0 y\r\n")));
    buf_free(&out);
}

static void the_value_of_b_goes_and_nothing_else(void **state) {
    static const struct {
        const char *field, *without;
    } cases[] = {
        {"DKIM-Signature: a=1; b=abc\r\n\tdef; c=2\r\n", "DKIM-Signature: a=1; b=; c=2"},
        {"DKIM-Signature: bh=xx; b=abc\r\n", "DKIM-Signature: bh=xx; b="},
        {"DKIM-Signature: b = abc ;x=b=1\r\n", "DKIM-Signature: b =;x=b=1"},
        {"DKIM-Signature: b\r\n =\r\n abc \r\n ;x=1\r\n", "DKIM-Signature: b\r\n =;x=1"},
        {"DKIM-Signature: h=a:b; b=\r\n", "DKIM-Signature: h=a:b; b="},
        {"DKIM-Signature:b=abc;\r\n", "DKIM-Signature:b=;"},
        {"DKIM-Signature: B=abc; bb=1; b=x\r\n", "DKIM-Signature: B=abc; bb=1; b="},
        {"DKIM-Signature: z=b=no; b=x;\r\n", "DKIM-Signature: z=b=no; b=;"},
        {"DKIM-Signature: a=1\r\n", "DKIM-Signature: a=1"},
        {"DKIM-Signature: b=abc", "DKIM-Signature: b="},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        dkim_field_without_b(slice_of(cases[i].field), false, &out);
        assert_string_equal(buf_str(&out), cases[i].without);
        buf_free(&out);
    }
}

/* What h= selects (§5.4.2): the lowest field not yet taken; nothing where there is none left. */
static void fields_are_taken_from_the_bottom_up(void **state) {
    static const char header[] = "DKIM-Signature: top\r\nReceived: third\r\nX: 1\r\nReceived: second\r\nSubject: "
                                 "s\r\nReceived : first\r\nDKIM-Signature: below\r\n";
    static const struct {
        const char *h, *signed_text;
        size_t present, absent;
    } cases[] = {
        {"received", "received:first\r\n", 1, 0},
        {"received:received", "received:first\r\nreceived:second\r\n", 2, 0},
        {"Received:X:RECEIVED:received:received", "received:first\r\nx:1\r\nreceived:second\r\nreceived:third\r\n", 4,
         1},
        {"none:subject:subject", "subject:s\r\n", 1, 2},
        {" subject :\r\n\tx ", "subject:s\r\nx:1\r\n", 2, 0},
        {"dkim-signature:dkim-signature", "dkim-signature:below\r\n", 1, 1}, /* never itself */
        {"receive:receivedx", "", 0, 2},
        {"", "", 0, 0},
    };
    (void)state;
    struct header_index *index = header_index_create(slice_of(header));
    assert_int_equal(header_index_count(index, SLICE("RECEIVED")), 3);
    assert_int_equal(header_index_count(index, SLICE("absent")), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0}, wanted = {0};
        struct header_coverage coverage;
        struct slice own = slice_head(slice_of(header), strlen("DKIM-Signature: top\r\n"));
        dkim_signed_header(index, slice_of(cases[i].h), true, own, &out, &coverage);
        buf_printf(&wanted, "%sdkim-signature:top", cases[i].signed_text);
        assert_string_equal(buf_str(&out), buf_str(&wanted));
        assert_int_equal(coverage.present, cases[i].present);
        assert_int_equal(coverage.absent, cases[i].absent);
        buf_free(&out);
        buf_free(&wanted);
    }
    header_index_destroy(index);
}

static void digest_of(struct slice body, bool relaxed, int64_t length, size_t piece, char b64[64], uint64_t *hashed) {
    struct body_hash *h = body_hash_create((struct body_hash_kind){relaxed, length});
    unsigned char digest[BODY_HASH_BYTES];
    struct buf out = {0};
    for (struct slice rest = body; rest.n; rest = slice_skip(rest, piece)) body_hash_update(h, slice_head(rest, piece));
    body_hash_finish(h, digest, hashed);
    base64_encode(slice_make(digest, sizeof digest), &out);
    snprintf(b64, 64, "%s", buf_str(&out));
    buf_free(&out);
}

static void bodies_hash_alike_however_they_are_cut(void **state) {
    static const struct {
        struct slice body, canonical; /* canonical: what the hash must be of */
        bool relaxed;
    } cases[] = {
        {SLICE(""), SLICE("\r\n"), false}, /* §3.4.3 */
        {SLICE(""), SLICE(""), true},      /* §3.4.4 */
        {SLICE("\r\n"), SLICE("\r\n"), false},
        {SLICE("\r\n"), SLICE(""), true},
        {SLICE("\r\n\r\n"), SLICE("\r\n"), false},
        {SLICE("\r\n\r\n"), SLICE(""), true},
        {SLICE(" \t\r\n \r\n"), SLICE(""), true},
        {SLICE(" "), SLICE(""), true},
        {SLICE(" \r\n"), SLICE(" \r\n"), false},
        {SLICE(" C \r\nD \t E\r\n\r\n\r\n"), SLICE(" C\r\nD E\r\n"), true}, /* §3.4.5 */
        {SLICE(" C \r\nD \t E\r\n\r\n\r\n"), SLICE(" C \r\nD \t E\r\n"), false},
        {SLICE("no end"), SLICE("no end\r\n"), false},
        {SLICE("no end"), SLICE("no end\r\n"), true},
        {SLICE("no end \t"), SLICE("no end\r\n"), true},
        {SLICE("a\r\n\r\n\r\nb\r\n"), SLICE("a\r\n\r\n\r\nb\r\n"), true},
        {SLICE("a\rb\r\n"), SLICE("a\rb\r\n"), true},
        {SLICE("a\rb\r\n"), SLICE("a\rb\r\n"), false},
        {SLICE("a\nb\r\n"), SLICE("a\nb\r\n"), false},
        {SLICE("a \nb\r\n"), SLICE("a \nb\r\n"), true}, /* an LF alone ends no line */
        {SLICE("a\n\n\n"), SLICE("a\n\n\n\r\n"), false},
        {SLICE("a\r"), SLICE("a\r\r\n"), false},
        {SLICE("a\r"), SLICE("a\r\r\n"), true},
        {SLICE("a\r\r\n"), SLICE("a\r\r\n"), true},
        {SLICE("a \r \r\n"), SLICE("a \r\r\n"), true},
        {SLICE("\r\r\n\r\n"), SLICE("\r\r\n"), false},
        {SLICE("a \t\r\n \t\r\nb"), SLICE("a\r\n\r\nb\r\n"), true},
        {SLICE("x\r\n \r\n"), SLICE("x\r\n"), true},
        {SLICE("x\r\n \r\n"), SLICE("x\r\n \r\n"), false},
        {SLICE("\tx"), SLICE(" x\r\n"), true},
        {SLICE(".\r\n..\r\n"), SLICE(".\r\n..\r\n"), true}, /* dots were unstuffed before */
        {SLICE("nul\0 \0\r\n"), SLICE("nul\0 \0\r\n"), true},
        {SLICE("\xff\xc3\xa9\xc2\xa0\r\n"), SLICE("\xff\xc3\xa9\xc2\xa0\r\n"), true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char digest[32];
        unsigned n = 0;
        struct buf wanted = {0};
        EVP_Digest(cases[i].canonical.p, cases[i].canonical.n, digest, &n, EVP_sha256(), NULL);
        base64_encode(slice_make(digest, n), &wanted);
        for (size_t piece = 1; piece < 9; piece++) {
            char got[64];
            uint64_t hashed;
            digest_of(cases[i].body, cases[i].relaxed, -1, piece, got, &hashed);
            if (strcmp(got, buf_str(&wanted)) != 0)
                print_error("case %zu (%s) in pieces of %zu\n", i, cases[i].relaxed ? "relaxed" : "simple", piece);
            assert_string_equal(got, buf_str(&wanted));
            assert_int_equal(hashed, cases[i].canonical.n);
            /* every l= is the hash of that many canonical bytes */
            for (size_t l = 0; l <= cases[i].canonical.n; l++) {
                struct buf part = {0};
                EVP_Digest(cases[i].canonical.p, l, digest, &n, EVP_sha256(), NULL);
                base64_encode(slice_make(digest, n), &part);
                digest_of(cases[i].body, cases[i].relaxed, (int64_t)l, piece, got, &hashed);
                assert_string_equal(got, buf_str(&part));
                assert_int_equal(hashed, l);
                buf_free(&part);
            }
        }
        buf_free(&wanted);
    }
}

static void long_lines_and_many_empty_ones_are_hashed_whole(void **state) {
    (void)state;
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        struct buf body = {0}, canonical = {0}, wanted = {0};
        unsigned char digest[32];
        unsigned n = 0;
        char got[64];
        uint64_t hashed;
        for (int i = 0; i < 20000; i++) buf_add_str(&body, "x ");
        buf_add_slice(&canonical, slice_head(buf_slice(&body), body.n - (relaxed ? 1 : 0)));
        buf_add_str(&body, "\r\n");
        buf_add_str(&canonical, "\r\n");
        for (int i = 0; i < 5000; i++) {
            buf_add_str(&body, "\r\n");
            buf_add_str(&canonical, "\r\n");
        }
        buf_add_str(&body, "end");
        buf_add_str(&canonical, "end\r\n");
        EVP_Digest(canonical.data, canonical.n, digest, &n, EVP_sha256(), NULL);
        base64_encode(slice_make(digest, n), &wanted);
        digest_of(buf_slice(&body), relaxed, -1, 1000, got, &hashed);
        assert_string_equal(got, buf_str(&wanted));
        assert_int_equal(hashed, canonical.n);
        buf_free(&body);
        buf_free(&canonical);
        buf_free(&wanted);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_canonical_to_the_byte),
        cmocka_unit_test(the_value_of_b_goes_and_nothing_else),
        cmocka_unit_test(fields_are_taken_from_the_bottom_up),
        cmocka_unit_test(bodies_hash_alike_however_they_are_cut),
        cmocka_unit_test(long_lines_and_many_empty_ones_are_hashed_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
