/* The JSON writer and the readers of base/json.h, against RFC 8259 and against jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>

#include "libcommon/base/json.h"

static void values_stand_where_they_belong(void **state) {
    struct buf out = {0};
    (void)state;
    buf_add_str(&out, "x="); /* what stands before the text has no part in it */
    struct json_put j = json_put_begin(&out);
    json_put_object(&j, NULL);
    json_put_text(&j, "a", SLICE("b"));
    json_put_array(&j, "list");
    json_put_integer(&j, NULL, INT64_MIN);
    json_put_integer(&j, NULL, INT64_MAX);
    json_put_object(&j, NULL);
    json_put_end(&j, '}');
    json_put_array(&j, NULL);
    json_put_end(&j, ']');
    json_put_word(&j, NULL, NULL);
    json_put_end(&j, ']');
    json_put_bool(&j, "yes", true);
    json_put_bool(&j, "no", false);
    json_put_null(&j, "nothing");
    json_put_base64(&j, "b64", SLICE("\0\xff"));
    json_put_base64(&j, "empty", SLICE(""));
    json_put_raw(&j, "raw", SLICE("{\"c\":1}"));
    json_put_end(&j, '}');
    assert_false(j.failed);
    assert_string_equal(
        buf_str(&out),
        "x={\"a\":\"b\",\"list\":[-9223372036854775808,9223372036854775807,{},[],\"\"],\"yes\":true,\"no\":false,"
        "\"nothing\":null,\"b64\":\"AP8=\",\"empty\":\"\",\"raw\":{\"c\":1}}");
    buf_free(&out);
}

/* A value that ends like an opening bracket is a string, and its quote stands behind it. */
static void text_that_looks_like_brackets_needs_no_luck(void **state) {
    struct buf out = {0};
    (void)state;
    struct json_put j = json_put_begin(&out);
    json_put_array(&j, NULL);
    json_put_text(&j, NULL, SLICE("["));
    json_put_text(&j, NULL, SLICE("{"));
    json_put_text(&j, NULL, SLICE(":"));
    json_put_end(&j, ']');
    assert_string_equal(buf_str(&out), "[\"[\",\"{\",\":\"]");
    buf_free(&out);
}

static void texts_are_escaped_or_refused(void **state) {
    static const struct {
        struct slice text;
        const char *json; /* NULL: not UTF-8 */
    } rows[] = {
        {{"", 0}, "\"\""},
        {{NULL, 0}, "\"\""},
        {{"\"\\/\b\f\n\r\t", 8}, "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {{"\0\x1f\x7f", 3}, "\"\\u0000\\u001f\x7f\""},
        {{"gr\xc3\xbc\xc3\x9f", 6}, "\"gr\xc3\xbc\xc3\x9f\""},
        {{"\xe2\x82\xac\xf0\x9f\x93\xa8", 7}, "\"\xe2\x82\xac\xf0\x9f\x93\xa8\""},
        {{"\xf4\x8f\xbf\xbf\xef\xbf\xbf\xed\x9f\xbf", 10}, "\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\xed\x9f\xbf\""},
        {{"\x80", 1}, NULL},
        {{"a\xff", 2}, NULL},
        {{"\xc3", 1}, NULL},                 /* cut off */
        {{"\xe2\x82", 2}, NULL},             /* cut off */
        {{"\xc3(", 2}, NULL},                /* no continuation */
        {{"\xe2\x82(", 3}, NULL},            /* no continuation */
        {{"\xc0\xaf", 2}, NULL},             /* overlong */
        {{"\xe0\x80\xaf", 3}, NULL},         /* overlong */
        {{"\xf0\x80\x80\xaf", 4}, NULL},     /* overlong */
        {{"\xed\xa0\x80", 3}, NULL},         /* a surrogate */
        {{"\xf4\x90\x80\x80", 4}, NULL},     /* beyond U+10FFFF */
        {{"\xf8\x88\x80\x80\x80", 5}, NULL}, /* five bytes */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = {0};
        struct json_put j = json_put_begin(&out);
        json_put_text(&j, NULL, rows[i].text);
        if (strcmp(buf_str(&out), rows[i].json ? rows[i].json : "\"\"") != 0)
            print_error("%zu: %s\n", i, buf_str(&out));
        assert_string_equal(buf_str(&out), rows[i].json ? rows[i].json : "\"\"");
        assert_int_equal(j.failed, !rows[i].json);
        assert_int_equal(json_is_utf8(rows[i].text), rows[i].json != NULL);
        /* jansson says the same of it */
        json_t *other = json_stringn(rows[i].text.p ? rows[i].text.p : "", rows[i].text.n),
               *read = json_loadb(out.data, out.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_int_equal(other == NULL, !rows[i].json);
        if (other) assert_true(json_equal(other, read));
        json_decref(other);
        json_decref(read);
        buf_reset(&out);
        j = json_put_begin(&out);
        json_put_foreign(&j, NULL, rows[i].text);
        assert_string_equal(buf_str(&out), rows[i].json ? rows[i].json : "\"(not UTF-8)\"");
        assert_false(j.failed);
        buf_free(&out);
    }
}

static void members_are_taken_by_type(void **state) {
    struct arena *arena = arena_create();
    yyjson_val *o;
    struct slice bytes;
    (void)state;
    yyjson_doc *doc = json_take(SLICE("{\"t\":\"a\\u0000b\",\"n\":-7,\"big\":18446744073709551615,\"r\":1.5,\"y\":true,"
                                      "\"z\":null,\"b\":\"AP8=\",\"bad\":\"A\"}"),
                                &o);
    assert_non_null(doc);
    assert_int_equal(json_take_text(o, "t").n, 3);
    assert_int_equal(json_take_copy(arena, o, "t").n, 3);
    assert_null(json_take_text(o, "n").p);
    assert_null(json_take_text(o, "none").p);
    assert_string_equal(json_take_copy(arena, o, "z").p, "");
    assert_int_equal(json_take_integer(o, "n", 1), -7);
    assert_int_equal(json_take_integer(o, "big", 1), 1);
    assert_int_equal(json_take_integer(o, "r", 1), 1);
    assert_int_equal(json_take_integer(o, "t", 1), 1);
    assert_true(json_take_true(o, "y"));
    assert_false(json_take_true(o, "n"));
    assert_int_equal(json_take_base64(arena, o, "b", &bytes), 0);
    assert_true(slice_equal(bytes, SLICE("\0\xff")));
    assert_int_equal(json_take_base64(arena, o, "bad", &bytes), -1);
    assert_int_equal(json_take_base64(arena, o, "none", &bytes), -1);
    yyjson_doc_free(doc);
    static const char *const none[] = {"", "[]", "1", "{", "{}x", "{\"a\":1,}", "{\"\xff\":1}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_null(json_take(slice_of(none[i]), &o));
        assert_null(o);
        assert_null(json_take_text(o, "a").p); /* readers take NULL */
    }
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_stand_where_they_belong),
        cmocka_unit_test(text_that_looks_like_brackets_needs_no_luck),
        cmocka_unit_test(texts_are_escaped_or_refused),
        cmocka_unit_test(members_are_taken_by_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
