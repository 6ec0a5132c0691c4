#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/mail/domain.h"

static const struct {
    const char *in, *out; /* out NULL: no address */
} cases[] = {
    {"a@b.test", "a@b.test"},
    {"A.B@B.TEST", "a.b@b.test"},
    {"a@b.test.", "a@b.test"},
    {"\"a b\"@b.test", "a b@b.test"}, /* RFC 5321 §4.1.2 */
    {"\"a\\\"b\"@b.test", "a\"b@b.test"},
    {"\"a@b\"@c.test", "a@b@c.test"},
    {"u\xcc\x88@b.test", "\xc3\xbc@b.test"}, /* NFC */
    {"a@b\xc3\xbc"
     "cher.test",
     "a@xn--bcher-kva.test"},
    {"a@XN--BCHER-KVA.test", "a@xn--bcher-kva.test"},
    {"", NULL},
    {"a", NULL},
    {"@b.test", NULL},
    {"a@", NULL},
    {"a@.", NULL},
    {"a@b..c", NULL},
    {"a@-b.test", NULL},
    {"a@b-.test", NULL},
    {"a@b c.test", NULL},
    {"a\x01@b.test", NULL},
    {"\xff@b.test", NULL},
    {"a\"b@b.test", NULL},
    {"\"\"@b.test", NULL},
};

static void addresses_have_one_form(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mail_address a;
        char text[ADDRESS_BYTES_MAX];
        int error = address_normalise(slice_of(cases[i].in), &a);
        if (!cases[i].out) {
            assert_int_equal(error, -1);
            continue;
        }
        assert_int_equal(error, 0);
        assert_string_equal(address_text(&a, text), cases[i].out);
    }
}

static void overlong_parts_are_refused(void **state) {
    char text[600];
    struct mail_address a;
    char domain[DOMAIN_BYTES];
    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text + 300, "@b.test", 8);
    assert_int_equal(address_normalise(slice_of(text), &a), -1);
    assert_int_equal(address_normalise(slice_make(text + 50, 257), &a), 0);
    assert_int_equal(domain_normalise(slice_make(text, 63), domain), 0);
    assert_int_equal(domain_normalise(slice_make(text, 64), domain), -1);
    assert_int_equal(domain_normalise(slice_make(text, 300), domain), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses_have_one_form),
                                       cmocka_unit_test(overlong_parts_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
