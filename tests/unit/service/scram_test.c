/* SCRAM-SHA-256: the example of RFC 7677 §3, and messages that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/base/base64.h"
#include "libcommon/service/scram.h"

#define FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define NONCE "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SIGNATURE "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
#define USER "01HZZZZZZZZZZZZZZZZZZZZZZZ"

static bool is_base64_of(const struct buf *text, const char *plain) {
    struct buf expected = {0};
    base64_encode(slice_of(plain), &expected);
    bool same = slice_equal(buf_slice(text), buf_slice(&expected));
    buf_free(&expected);
    return same;
}

static void begin(struct scram *x) {
    struct buf text = {0};
    assert_int_equal(scram_first(x, SLICE(FIRST), false, NULL), SCRAM_OK);
    assert_true(slice_starts(buf_slice(&x->nonce), SLICE("rOprNGfwEbeRWgbNEkqO")) && x->nonce.n == 20 + 24);
    assert_true(slice_is(buf_slice(&x->name), "user"));
    buf_reset(&x->nonce);
    buf_add_str(&x->nonce, NONCE);
    assert_int_equal(scram_challenge(x, SLICE("{\"salt\":\"" SALT "\",\"iterations\":4096}"), &text), SCRAM_OK);
    assert_true(is_base64_of(&text, "r=" NONCE ",s=" SALT ",i=4096"));
    buf_free(&text);
}

static void test_the_example(void **state) {
    struct scram x = {0};
    struct scram_keys keys = {.iterations = 4096};
    struct buf salt = {0}, text = {0};
    unsigned char signature[SCRAM_KEY_BYTES];
    (void)state;
    begin(&x);
    assert_int_equal(scram_final(&x, SLICE("c=biws,r=" NONCE ",p=" PROOF)), SCRAM_OK);
    assert_int_equal(base64_decode(SLICE(SALT), false, &salt), 0);
    memcpy(keys.salt, salt.data, sizeof keys.salt);
    assert_int_equal(scram_keys_derive(SLICE("pencil"), &keys), 0);
    assert_true(scram_check(&keys, buf_slice(&x.auth_message), buf_slice(&x.proof), signature));
    base64_encode(slice_make((const char *)signature, sizeof signature), &text);
    assert_string_equal(buf_str(&text), SIGNATURE);
    buf_reset(&text);
    assert_int_equal(
        scram_end(&x, SLICE("{\"user\":\"" USER "\",\"address\":\"a@x.test\",\"signature\":\"" SIGNATURE "\"}"), &text),
        SCRAM_OK);
    assert_true(is_base64_of(&text, "v=" SIGNATURE));
    assert_string_equal(x.user, USER);
    assert_string_equal(x.address, "a@x.test");
    x.proof.data[0] ^= 1;
    assert_false(scram_check(&keys, buf_slice(&x.auth_message), buf_slice(&x.proof), signature));
    buf_free(&salt);
    buf_free(&text);
    scram_free(&x);
}

static void test_first_messages(void **state) {
    static const struct {
        const char *message;
        bool plus;
        int error;
    } all[] = {
        {"y,,n=u,r=abc", false, SCRAM_OK}, /* no connection offers PLUS here */
        {"n,a=u,n=u,r=abc", false, SCRAM_OK},
        {"n,,n=u,r=abc,x=later", false, SCRAM_OK},
        {"n,a=other,n=u,r=abc", false, SCRAM_NO_IDENTITY},
        {"p=tls-exporter,,n=u,r=abc", false, SCRAM_NO_BINDING},
        {"p=tls-exporter,,n=u,r=abc", true, SCRAM_NO_BINDING},
        {"n,,n=u,r=abc", true, SCRAM_NO_BINDING},
        {"", false, SCRAM_MALFORMED},
        {"n", false, SCRAM_MALFORMED},
        {"n,,", false, SCRAM_MALFORMED},
        {"x,,n=u,r=abc", false, SCRAM_MALFORMED},
        {"n,b=u,n=u,r=abc", false, SCRAM_MALFORMED},
        {"n,,m=must,n=u,r=abc", false, SCRAM_MALFORMED}, /* RFC 5802 §5.1: not understood */
        {"n,,n=,r=abc", false, SCRAM_MALFORMED},
        {"n,,n=u,r=", false, SCRAM_MALFORMED},
        {"n,,n=u,r=a b", false, SCRAM_MALFORMED},
        {"n,,n=a=b,r=abc", false, SCRAM_MALFORMED},
        {"n,,n=a=2,r=abc", false, SCRAM_MALFORMED},
        {"n,,r=abc,n=u", false, SCRAM_MALFORMED},
    };
    struct scram x = {0};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_int_equal(scram_first(&x, slice_of(all[i].message), all[i].plus, NULL), all[i].error);
    assert_int_equal(scram_first(&x, SLICE("n,,n=a=2Cb=3Dc,r=abc"), false, NULL), SCRAM_OK);
    assert_true(slice_is(buf_slice(&x.name), "a,b=c"));
    scram_free(&x);
}

static void test_final_messages(void **state) {
    static const struct {
        const char *message;
        int error;
    } all[] = {
        {"c=biws,r=" NONCE ",p=" PROOF, SCRAM_OK},
        {"c=biws,r=" NONCE ",x=extension,p=" PROOF, SCRAM_OK},
        {"c=eSws,r=" NONCE ",p=" PROOF, SCRAM_NO_BINDING}, /* "y,,": not the header of before */
        {"c=biws,r=" NONCE "x,p=" PROOF, SCRAM_MALFORMED},
        {"c=biws,r=" NONCE, SCRAM_MALFORMED},
        {"c=biws,r=" NONCE ",p=AAAA", SCRAM_MALFORMED},
        {"c=biws,r=" NONCE ",p=!", SCRAM_MALFORMED},
        {"c=biws,r=" NONCE ",p=" PROOF ",x=y", SCRAM_MALFORMED},
        {"r=" NONCE ",p=" PROOF, SCRAM_MALFORMED},
        {"p=" PROOF, SCRAM_MALFORMED},
        {"", SCRAM_MALFORMED},
    };
    struct scram x = {0};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        begin(&x);
        assert_int_equal(scram_final(&x, slice_of(all[i].message)), all[i].error);
    }
    scram_free(&x);
}

static void test_answers_that_cannot_be_used(void **state) {
    static const char *const all[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"salt\":\"" SALT "\"}",
                                      "{\"salt\":\"" SALT "\",\"iterations\":4095}",
                                      "{\"salt\":\"\",\"iterations\":4096}",
                                      "{\"user\":\"x\",\"address\":\"a@x.test\",\"signature\":\"AA==\"}"};
    struct scram x = {0};
    struct buf text = {0};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(scram_challenge(&x, slice_of(all[i]), &text), SCRAM_NO_ANSWER);
        assert_int_equal(scram_end(&x, slice_of(all[i]), &text), SCRAM_NO_ANSWER);
    }
    assert_int_equal(text.n, 0);
    scram_free(&x);
}

/* RFC 4013 §3. */
static void test_saslprep(void **state) {
    static const struct {
        const char *text, *prepared; /* NULL: prohibited */
    } all[] = {
        {"I\xc2\xadX", "IX"},
        {"user", "user"},
        {"USER", "USER"},
        {"\xc2\xaa", "a"},
        {"\xe2\x85\xa8", "IX"},
        {"\x07", NULL},
        {"\xd8\xa7\x31", "\xd8\xa7\x31"},
        {"a\xc2\xa0"
         "b",
         "a b"},
        {"\xd8\xa7"
         "a",
         NULL},
        {"\xff", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct buf out = {0};
        assert_int_equal(saslprep(slice_of(all[i].text), &out), all[i].prepared ? 0 : -1);
        if (all[i].prepared) assert_string_equal(buf_str(&out), all[i].prepared);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example),    cmocka_unit_test(test_first_messages),
        cmocka_unit_test(test_final_messages), cmocka_unit_test(test_answers_that_cannot_be_used),
        cmocka_unit_test(test_saslprep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
