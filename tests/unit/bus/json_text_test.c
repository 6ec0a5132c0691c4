/* JSON read and written by ourselves: what jansson's own reader takes and refuses, we do. */
#include "libcommon/bus/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* The text as our writer gives it back, or "refused". The caller frees. */
static char *there_and_back(struct slice text) {
    struct buf out = {0};
    json_t *value = json_text_read(text);
    if (value)
        json_text_write(value, &out);
    else
        buf_add_str(&out, "refused");
    json_decref(value);
    return out.data;
}

static void what_is_json_is_read_and_what_is_not_is_refused(void **state) {
    static const struct {
        const char *text, *back;
    } cases[] = {
        {"{}", "{}"},
        {" [ ] \r\n", "[]"},
        {"{\"a\":1,\"b\":[true,false,null],\"c\":{\"d\":\"e\"}}", "{\"a\":1,\"b\":[true,false,null],\"c\":{\"d\":\"e\"}}"},
        {"{ \"a\" : 1 ,\t\"a\" : 2 }", "{\"a\":2}"}, /* the last of a name counts */
        {"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "[\"\\\"\\\\/\\b\\f\\n\\r\\t\"]"},
        {"[\"before\\u00e9behind\"]", "[\"before\xc3\xa9"
                                      "behind\"]"},
        {"[\"\\u20ac\\ud834\\udd1e\"]", "[\"\xe2\x82\xac\xf0\x9d\x84\x9e\"]"}, /* RFC 8259 section 7: the G clef */
        {"[\"\\u001f\x7f\"]", "[\"\\u001f\x7f\"]"},
        {"[\"b\xc3\xbc"
         "cher\"]",
         "[\"b\xc3\xbc"
         "cher\"]"},
        {"{\"b\xc3\xbc\":1}", "{\"b\xc3\xbc\":1}"},
        {"{\"\\u0062\":1}", "{\"b\":1}"},
        {"[0,-0,12,-12,9223372036854775807,-9223372036854775808]", "[0,0,12,-12,9223372036854775807,-9223372036854775808]"},
        {"[0.5,1e2,-1.25E-1]", "[0.5,100.0,-0.125]"},
        {"", "refused"},
        {"1", "refused"}, /* an object or an array it must be */
        {"\"text\"", "refused"},
        {"null", "refused"},
        {"[1] [2]", "refused"},
        {"[1,]", "refused"},
        {"[,1]", "refused"},
        {"[1 2]", "refused"},
        {"[", "refused"},
        {"{\"a\":1", "refused"},
        {"{\"a\"}", "refused"},
        {"{\"a\":}", "refused"},
        {"{a:1}", "refused"},
        {"{1:1}", "refused"},
        {"{\"a\":1,}", "refused"},
        {"[\"open]", "refused"},
        {"[\"a\\", "refused"},
        {"[\"\\x\"]", "refused"},
        {"[\"\\u12\"]", "refused"},
        {"[\"\\u12g4\"]", "refused"},
        {"[\"\\u0000\"]", "refused"}, /* no string of ours may hide an end */
        {"[\"\\ud834\"]", "refused"}, /* half a character */
        {"[\"\\ud834\\u0041\"]", "refused"},
        {"[\"\\udd1e\"]", "refused"},
        {"[\"a\nb\"]", "refused"},
        {"[\"\xff\"]", "refused"},
        {"[\"\xc0\xaf\"]", "refused"}, /* longer than it needs to be */
        {"[\"\xed\xa0\x80\"]", "refused"},
        {"{\"\xff\":1}", "refused"},
        {"[01]", "refused"},
        {"[+1]", "refused"},
        {"[.5]", "refused"},
        {"[1.]", "refused"},
        {"[1e]", "refused"},
        {"[-]", "refused"},
        {"[1e999]", "refused"},
        {"[9223372036854775808]", "refused"},
        {"[-9223372036854775809]", "refused"},
        {"[tru]", "refused"},
        {"[NaN]", "refused"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *back = there_and_back(slice_of(cases[i].text));
        assert_string_equal(back, cases[i].back);
        free(back);
        json_t *theirs = json_loads(cases[i].text, 0, NULL);
        if (!theirs != !strcmp(cases[i].back, "refused")) fail_msg("jansson thinks otherwise of %s", cases[i].text);
        json_decref(theirs);
    }
}

static void nesting_is_bounded(void **state) {
    char text[2 * JSON_DEPTH_MAX + 2];
    (void)state;
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        json_t *value = json_text_read(slice_make(text, depth * 2));
        assert_int_equal(value != NULL, depth == JSON_DEPTH_MAX);
        json_decref(value);
    }
    json_t *deep = json_array();
    for (int i = 0; i < JSON_DEPTH_MAX + 5; i++) deep = json_pack("[o]", deep);
    struct buf out = {0};
    json_text_write(deep, &out);
    assert_non_null(strstr(buf_str(&out), "[null]"));
    buf_free(&out);
    json_decref(deep);
}

static void text_that_ends_anywhere_is_refused_and_not_read_beyond(void **state) {
    static const char text[] = "{\"a\":[1,-2.5e3,\"x\\u00e9\\n\"],\"b\":{\"c\":null},\"d\":true}";
    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *copy = malloc(n ? n : 1); /* of just this size, so that a sanitizer sees what is read behind it */
        memcpy(copy, text, n);
        json_t *value = json_text_read(slice_make(copy, n));
        assert_null(value);
        free(copy);
    }
    char *back = there_and_back(slice_of(text));
    assert_string_equal(back, "{\"a\":[1,-2500.0,\"x\xc3\xa9\\n\"],\"b\":{\"c\":null},\"d\":true}");
    free(back);
}

static void a_text_with_a_nul_inside_is_written_whole(void **state) {
    json_t *value = json_array();
    struct buf out = {0};
    (void)state;
    json_array_append_new(value, json_stringn("a\0b", 3));
    json_text_write(value, &out);
    assert_string_equal(buf_str(&out), "[\"a\\u0000b\"]");
    buf_free(&out);
    json_decref(value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json_is_read_and_what_is_not_is_refused),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(text_that_ends_anywhere_is_refused_and_not_read_beyond),
        cmocka_unit_test(a_text_with_a_nul_inside_is_written_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
