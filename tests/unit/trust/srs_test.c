/* SRS: there and back, tampering, age, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/trust/srs/srs.h"

enum { DAY = 86400 };
static const int64_t noon = 1795521600; /* 2026-11-24 12:00 */
static const char secret[] = "the first key of the tests\nthe second key of the tests\n";

static struct srs_keys keys_of(const char *text) {
    struct srs_keys keys;
    assert_int_equal(srs_keys_read(slice_of(text), &keys), 0);
    return keys;
}

static const char *forward(struct buf *out, const char *sender, const char *domain) {
    struct srs_keys keys = keys_of(secret);
    buf_reset(out);
    assert_int_equal(srs_forward(&keys, slice_of(sender), slice_of(domain), noon, out), SRS_OK);
    return buf_str(out);
}

static enum srs_result back(struct buf *out, const char *address, int64_t now) {
    struct srs_keys keys = keys_of(secret);
    buf_reset(out);
    return srs_reverse(&keys, slice_of(address), now, out);
}

static void test_there_and_back(void **state) {
    (void)state;
    static const char *const senders[] = {
        "ann@author.test",
        "Ann.Meyer+list=x=y@Author.Test",
        "a=b=c@author.test",
        "-leading-hyphen@author.test",
        "\"two words\"@author.test",
        "\"quote\\\"and\\\\slash\"@author.test",
        "\"ends.in.a.\"@author.test",
        "\"at@sign\"@author.test",
        "j\xc3\xbcrgen@b\xc3\xbc"
        "cher.test",
        "x@[192.0.2.1]",
        "srs@author.test",
        "SRS0@author.test",
        "SRS1=broken@author.test",
    };
    struct buf address = {0}, again = {0};
    for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
        forward(&address, senders[i], "ours.test");
        if (back(&again, buf_str(&address), noon) != SRS_OK || strcmp(buf_str(&again), senders[i]) != 0)
            fail_msg("%s became %s and came back as %s", senders[i], buf_str(&address), buf_str(&again));
    }
    buf_free(&address);
    buf_free(&again);
}

static void test_the_form(void **state) {
    (void)state;
    struct buf address = {0};
    forward(&address, "Ann@author.test", "ours.test");
    assert_true(slice_starts(buf_slice(&address), SLICE("SRS0=")));
    assert_string_equal(buf_str(&address) + 5 + SRS_HASH_CHARS,
                        "=JN=author.test=Ann@ours.test"); /* day 20781 of the epoch, 20781 mod 1024
                                                             = 9 * 32 + 13 */
    forward(&address, "\"a b\"@author.test", "ours.test");
    assert_true(slice_starts(buf_slice(&address), SLICE("\"SRS0=")));
    buf_free(&address);
}

/* However many forwarders there are, the address names the first and the last alone, and goes back
 * the short way. */
static void test_a_chain_of_forwarders(void **state) {
    (void)state;
    struct buf first = {0}, second = {0}, third = {0}, again = {0};
    forward(&first, "ann@author.test", "one.test");
    forward(&second, buf_str(&first), "two.test");
    assert_true(slice_starts(buf_slice(&second), SLICE("SRS1=")));
    assert_non_null(strstr(buf_str(&second), "=one.test=="));
    forward(&third, buf_str(&second), "three.test");
    assert_true(slice_starts(buf_slice(&third), SLICE("SRS1=")));
    assert_null(strstr(buf_str(&third), "two.test"));
    assert_int_equal(back(&again, buf_str(&third), noon + 900 * (int64_t)DAY),
                     SRS_OK); /* the first one's day is in it, and his to judge */
    assert_string_equal(buf_str(&again), buf_str(&first));
    assert_int_equal(back(&again, buf_str(&second), noon), SRS_OK);
    assert_string_equal(buf_str(&again), buf_str(&first));
    /* other makers' separators stay as they are */
    forward(&second, "SRS0+abcd=xy=author.test=ann@one.test", "two.test");
    assert_non_null(strstr(buf_str(&second), "=one.test=+abcd=xy=author.test=ann@two.test"));
    assert_int_equal(back(&again, buf_str(&second), noon), SRS_OK);
    assert_string_equal(buf_str(&again), "SRS0+abcd=xy=author.test=ann@one.test");
    buf_free(&first);
    buf_free(&second);
    buf_free(&third);
    buf_free(&again);
}

static void test_case_may_be_lost(void **state) {
    (void)state;
    struct buf address = {0}, again = {0};
    for (int lower = 0; lower < 2; lower++) {
        forward(&address, "Ann@author.test", "ours.test");
        for (size_t i = 0; i < address.n; i++) {
            char c = address.data[i];
            if (lower && c >= 'A' && c <= 'Z') address.data[i] = (char)(c | 0x20);
            if (!lower && c >= 'a' && c <= 'z') address.data[i] = (char)(c & ~0x20);
        }
        assert_int_equal(back(&again, buf_str(&address), noon), SRS_OK);
        assert_int_equal(strcasecmp(buf_str(&again), "ann@author.test"), 0);
    }
    buf_free(&address);
    buf_free(&again);
}

/* No byte of it can be changed, none added, none left out. */
static void test_tampering(void **state) {
    (void)state;
    static const char *const senders[] = {"ann@author.test", "SRS0=abcd=xy=author.test=ann@one.test"};
    struct buf address = {0}, other = {0}, again = {0};
    for (size_t s = 0; s < 2; s++) {
        forward(&address, senders[s], "ours.test");
        for (size_t i = 0; i < address.n; i++) {
            for (const char *with = "xq2=.-"; *with; with++) {
                buf_reset(&other);
                buf_add_slice(&other, buf_slice(&address));
                if ((other.data[i] | 0x20) == (*with | 0x20)) continue;
                other.data[i] = *with;
                bool separator = i == 4; /* the first one is free: "=", "+", "-" */
                enum srs_result r = back(&again, buf_str(&other), noon);
                if (r == SRS_OK && !separator)
                    fail_msg("%s was taken for ours and leads to %s", buf_str(&other), buf_str(&again));
                assert_true(separator || r != SRS_OK);
                assert_true(r == SRS_OK || again.n == 0);
            }
            buf_reset(&other);
            buf_add(&other, address.data, i);
            buf_add(&other, address.data + i + 1, address.n - i - 1);
            assert_int_not_equal(back(&again, buf_str(&other), noon), SRS_OK);
            buf_reset(&other);
            buf_add(&other, address.data, i);
            buf_add_char(&other, 'x');
            buf_add(&other, address.data + i, address.n - i);
            assert_int_not_equal(back(&again, buf_str(&other), noon), SRS_OK);
        }
    }
    buf_free(&address);
    buf_free(&other);
    buf_free(&again);
}

static void test_age(void **state) {
    (void)state;
    static const struct {
        int days;
        enum srs_result result;
    } ages[] = {{-2, SRS_EXPIRED}, {-1, SRS_OK},      {0, SRS_OK},        {1, SRS_OK},
                {21, SRS_OK},      {22, SRS_EXPIRED}, {500, SRS_EXPIRED}, {1022, SRS_EXPIRED}};
    struct buf address = {0}, again = {0};
    forward(&address, "ann@author.test", "ours.test");
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++)
        if (back(&again, buf_str(&address), noon + ages[i].days * (int64_t)DAY) != ages[i].result)
            fail_msg("after %d days", ages[i].days);
    buf_free(&address);
    buf_free(&again);
}

static void test_keys(void **state) {
    (void)state;
    struct srs_keys keys, old = keys_of("the second key of the tests"), now = keys_of(secret),
                          other = keys_of("another key of nobody here");
    struct buf address = {0}, again = {0};
    assert_int_equal(srs_forward(&old, SLICE("ann@author.test"), SLICE("ours.test"), noon, &address), SRS_OK);
    assert_int_equal(srs_reverse(&now, buf_slice(&address), noon, &again), SRS_OK); /* an old key verifies */
    assert_int_equal(srs_reverse(&other, buf_slice(&address), noon, &again), SRS_FORGED);
    buf_reset(&address);
    assert_int_equal(srs_forward(&now, SLICE("ann@author.test"), SLICE("ours.test"), noon, &address), SRS_OK);
    assert_int_equal(srs_reverse(&old, buf_slice(&address), noon, &again), SRS_FORGED); /* the new one signs */
    assert_int_equal(srs_keys_read(SLICE("\r\n\n  sixteen bytes or more \r\n"), &keys), 0);
    assert_int_equal(keys.count, 1);
    assert_int_equal(srs_keys_read(SLICE(""), &keys), -1);
    assert_int_equal(srs_keys_read(SLICE("sixteen bytes or more\nshort\n"), &keys), -1);
    assert_int_equal(srs_keys_read(SLICE("sixteen bytes 1.\nsixteen bytes 2.\nsixteen bytes 3.\nsixteen bytes "
                                         "4.\nsixteen bytes 5.\nsixteen bytes 6.\nsixteen "
                                         "bytes 7.\nsixteen bytes 8.\nsixteen bytes 9.\n"),
                                   &keys),
                     -1);
    buf_free(&address);
    buf_free(&again);
}

static void test_what_is_not_of_the_form(void **state) {
    (void)state;
    static const struct {
        const char *address;
        enum srs_result result;
    } cases[] = {{"ann@ours.test", SRS_NONE},
                 {"srs0@ours.test", SRS_NONE},
                 {"SRS0=@ours.test", SRS_NONE},
                 {"SRS2=a=b=c=d@ours.test", SRS_NONE},
                 {"", SRS_NONE},
                 {"@", SRS_NONE},
                 {"SRS0=x", SRS_NONE},
                 {"SRS0=x@ours.test", SRS_FORGED},
                 {"SRS0=AAAAAA=AA=a.test=b@ours.test", SRS_FORGED},
                 {"SRS1=AAAAAA@ours.test", SRS_FORGED},
                 {"SRS1=AAAAAA==@ours.test", SRS_FORGED},
                 {"SRS0===========@ours.test", SRS_FORGED},
                 {"\"SRS0=\"@ours.test", SRS_NONE}};
    struct buf out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (back(&out, cases[i].address, noon) != cases[i].result || out.n) fail_msg("%s", cases[i].address);
    struct srs_keys keys = keys_of(secret), none = {0};
    assert_int_equal(srs_forward(&keys, SLICE(""), SLICE("ours.test"), noon, &out), SRS_NONE);
    assert_int_equal(srs_forward(&keys, SLICE("ann"), SLICE("ours.test"), noon, &out), SRS_NONE);
    assert_int_equal(srs_forward(&keys, SLICE("\"\"@a.test"), SLICE("ours.test"), noon, &out), SRS_NONE);
    assert_int_equal(srs_forward(&keys, SLICE("ann@a=b.test"), SLICE("ours.test"), noon, &out),
                     SRS_NONE); /* it would not come back */
    assert_int_equal(srs_forward(&none, SLICE("a@a.test"), SLICE("ours.test"), noon, &out), SRS_NONE);
    buf_free(&out);
}

/* RFC 5321 §4.5.3.1.1: 64 octets of local part are what every server takes. */
static void test_bounds(void **state) {
    (void)state;
    struct srs_keys keys = keys_of(secret);
    struct buf sender = {0}, out = {0};
    enum { AROUND = 5 + SRS_HASH_CHARS + 4 + 2 + sizeof "author.test" - 1 - 1 };
    for (int extra = 0; extra < 2; extra++) {
        buf_reset(&sender);
        for (int i = 0; i < SRS_LOCAL_MAX - AROUND + extra; i++) buf_add_char(&sender, 'a');
        buf_add_str(&sender, "@author.test");
        assert_int_equal(srs_forward(&keys, buf_slice(&sender), SLICE("ours.test"), noon, &out),
                         extra ? SRS_TOO_LONG : SRS_OK);
        if (!extra) assert_int_equal(slice_find(buf_slice(&out), '@'), SRS_LOCAL_MAX);
        if (extra) assert_string_equal(buf_str(&out), "");
        buf_reset(&out);
    }
    buf_free(&sender);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back),
                                       cmocka_unit_test(test_the_form),
                                       cmocka_unit_test(test_a_chain_of_forwarders),
                                       cmocka_unit_test(test_case_may_be_lost),
                                       cmocka_unit_test(test_tampering),
                                       cmocka_unit_test(test_age),
                                       cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_what_is_not_of_the_form),
                                       cmocka_unit_test(test_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
