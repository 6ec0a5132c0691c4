/* slice, buf, arena, ulid, clock, base64: the ground all else stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"

static void numbers_are_whole_slices_of_digits_within_their_bound(void **state) {
    static const struct {
        const char *text;
        uint64_t max;
        int result;
        uint64_t value;
    } cases[] = {
        {"0", 10, 0, 0},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, -1, 0},
        {"99999999999999999999", UINT64_MAX, -1, 0},
        {"11", 10, -1, 0},
        {"", 10, -1, 0},
        {"1 ", 10, -1, 0},
        {"-1", 10, -1, 0},
        {"0x1", 10, -1, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 0;
        assert_int_equal(slice_to_u64(slice_of(cases[i].text), cases[i].max, &value), cases[i].result);
        if (cases[i].result == 0) assert_true(value == cases[i].value);
    }
}

static void cutting_takes_the_part_before_a_byte(void **state) {
    struct slice s = SLICE("a,b"), before;
    (void)state;
    assert_true(slice_cut(&s, ',', &before) && slice_is(before, "a") && slice_is(s, "b"));
    assert_false(slice_cut(&s, ',', &before));
    assert_true(slice_is(slice_trim(SLICE(" \t x y\r\n")), "x y"));
    assert_true(slice_is(slice_skip(SLICE("ab"), 5), ""));
    assert_int_equal(slice_find_last(SLICE("a.b.c"), '.'), 3);
}

static void a_buffer_grows_and_is_always_a_c_string(void **state) {
    struct buf b = {0};
    (void)state;
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 1000; i++) buf_printf(&b, "%d,", i);
    assert_int_equal(strlen(b.data), b.n);
    buf_drop(&b, b.n - 4);
    assert_string_equal(buf_str(&b), "999,");
    buf_reset(&b);
    buf_add(&b, "a\0b", 3);
    assert_int_equal(b.n, 3);
    buf_free(&b);
}

static void an_arena_hands_out_zeroed_memory_of_any_size(void **state) {
    struct arena *a = arena_create();
    (void)state;
    for (size_t n = 0; n < 20000; n += 777) {
        char *p = arena_alloc(a, n);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        if (n) memset(p, 1, n);
    }
    assert_string_equal(arena_printf(a, "%s-%d", "x", 7), "x-7");
    arena_reset(a);
    assert_int_equal(arena_used(a), 0);
    arena_destroy(a);
}

static void ids_are_valid_different_and_sorted_by_time(void **state) {
    char first[ULID_BYTES], second[ULID_BYTES];
    (void)state;
    ulid_create(first);
    int64_t until = clock_wall_ms() + 2;
    while (clock_wall_ms() < until) {
    }
    ulid_create(second);
    assert_true(ulid_is_valid(slice_of(first)) && ulid_is_valid(slice_of(second)));
    assert_true(strcmp(first, second) < 0);
    assert_false(ulid_is_valid(SLICE("01arz3ndektsv4rrffq69g5fav")));
    assert_false(ulid_is_valid(SLICE("01ARZ3NDEKTSV4RRFFQ69G5FAU ")));
    assert_false(ulid_is_valid(SLICE("81ARZ3NDEKTSV4RRFFQ69G5FAV")));
    assert_false(ulid_is_valid(SLICE("01ARZ3NDEKTSV4RRFFQ69G5FA*")));
}

static void dates_are_written_as_the_rfcs_say(void **state) {
    char out[CLOCK_TEXT_BYTES];
    (void)state;
    setenv("TZ", "UTC", 1);
    assert_string_equal(clock_rfc3339(1795513277123, out), "2026-11-24T09:41:17.123Z");
    assert_string_equal(clock_rfc5322(1795513277123, out), "Tue, 24 Nov 2026 09:41:17 +0000");
}

static void base64_refuses_what_is_not_base64(void **state) {
    static const struct {
        const char *text;
        bool loose;
        const char *bytes; /* NULL: refused */
    } cases[] = {
        {"", false, ""},
        {"Zg==", false, "f"},
        {"Zm9vYmFy", false, "foobar"}, /* RFC 4648 §10 */
        {"Zm9v\r\n YmFy", true, "foobar"},
        {"Zm9v YmFy", false, NULL},
        {"Zg=", false, NULL},
        {"Zg", false, NULL},
        {"Z", false, NULL},
        {"Zm9v!", true, NULL},
        {"====", false, NULL},
        {"Zm8=", false, "fo"},
        {"Zm8==", false, NULL},
        {"Zm8", false, NULL},
        {"Zh==", false, NULL}, /* bits that stand for nothing */
        {"Zm9=", false, NULL},
        {"Zg==Zg==", false, NULL},
        {"Zg==\n", false, NULL},
        {" Z g = = ", true, "f"},
        {"Zm9v\xff", true, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        int result = base64_decode(slice_of(cases[i].text), cases[i].loose, &out);
        if (cases[i].bytes) {
            assert_int_equal(result, 0);
            assert_string_equal(buf_str(&out), cases[i].bytes);
        } else {
            assert_int_equal(result, -1);
            assert_int_equal(out.n, 0);
        }
        buf_free(&out);
    }
    struct buf out = {0};
    base64_encode(SLICE("foob"), &out);
    assert_string_equal(buf_str(&out), "Zm9vYg==");
    buf_free(&out);
}

/* libsodium says the same of random bytes, and of texts in which one byte was changed. (It takes
 * some bytes beyond ASCII for digits; we do not.) */
static void base64_agrees_with_libsodium(void **state) {
    unsigned char bytes[64], back[96];
    char text[100];
    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t n = randombytes_uniform(sizeof bytes + 1), got = 0;
        const char *end;
        struct buf out = {0};
        bool loose = round % 2;
        randombytes_buf(bytes, n);
        sodium_bin2base64(text, sizeof text, bytes, n, sodium_base64_VARIANT_ORIGINAL);
        base64_encode(slice_make(bytes, n), &out);
        assert_string_equal(buf_str(&out), text);
        buf_reset(&out);
        if (round % 3 && *text) text[randombytes_uniform((uint32_t)strlen(text))] = "A+/=. \n"[randombytes_uniform(7)];
        size_t length = strlen(text);
        bool good = sodium_base642bin(back, sizeof back, text, length, loose ? " \t\r\n" : NULL, &got, &end,
                                      sodium_base64_VARIANT_ORIGINAL) == 0 &&
                    end == text + length;
        if ((base64_decode(slice_make(text, length), loose, &out) == 0) != good)
            fail_msg("%s: libsodium %s it", text, good ? "takes" : "refuses");
        if (good) assert_true(slice_equal(buf_slice(&out), slice_make(back, got)));
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_whole_slices_of_digits_within_their_bound),
        cmocka_unit_test(cutting_takes_the_part_before_a_byte),
        cmocka_unit_test(a_buffer_grows_and_is_always_a_c_string),
        cmocka_unit_test(an_arena_hands_out_zeroed_memory_of_any_size),
        cmocka_unit_test(ids_are_valid_different_and_sorted_by_time),
        cmocka_unit_test(dates_are_written_as_the_rfcs_say),
        cmocka_unit_test(base64_refuses_what_is_not_base64),
        cmocka_unit_test(base64_agrees_with_libsodium),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
