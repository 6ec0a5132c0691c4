/* What is written is JSON, whatever bytes go in: read back with yyjson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <yyjson.h>

#include "libcommon/base/json_write.h"

static void a_text_of_every_kind(void **state) {
    struct buf b = {0};
    (void)state;
    json_open(&b, NULL, '{');
    json_text(&b, "t", SLICE("a \"b\" \\ \r\n\t\001"));
    json_open(&b, "list", '[');
    json_number(&b, NULL, -5);
    json_open(&b, NULL, '{');
    json_close(&b, '}');
    json_flag(&b, NULL, true);
    json_close(&b, ']');
    json_nothing(&b, "n");
    json_base64(&b, "b", SLICE("hello"));
    json_raw(&b, "r", SLICE("{\"x\":[1]}"));
    json_flag(&b, "f", false);
    json_close(&b, '}');
    assert_string_equal(buf_str(&b), "{\"t\":\"a \\\"b\\\" \\\\ \\r\\n\\t\\u0001\",\"list\":[-5,{},true],\"n\":null,"
                                     "\"b\":\"aGVsbG8=\",\"r\":{\"x\":[1]},\"f\":false}");
    buf_free(&b);
}

static void bytes_that_are_no_utf8(void **state) {
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"b\xc3\xbc", "b\xc3\xbc"},   {"\xf0\x9f\x93\xac", "\xf0\x9f\x93\xac"}, {"\xc3", "?"}, {"\xff\xfe", "??"},
        {"\xc0\xaf", "??"},           /* overlong */
        {"\xed\xa0\x80", "???"},      /* a surrogate */
        {"\xf4\x90\x80\x80", "????"}, /* past U+10FFFF */
        {"cut \xe2\x82", "cut ??"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = {0};
        json_open(&b, NULL, '{');
        json_text(&b, "t", slice_of(cases[i].in));
        json_close(&b, '}');
        yyjson_doc *doc = yyjson_read(b.data, b.n, 0);
        assert_non_null(doc);
        assert_string_equal(yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "t")), cases[i].out);
        yyjson_doc_free(doc);
        buf_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_text_of_every_kind),
                                       cmocka_unit_test(bytes_that_are_no_utf8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
