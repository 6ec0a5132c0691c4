#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/admin/admin.h"

static void a_problem_has_the_members_of_rfc_9457(void **state) {
    (void)state;
    json_t *p = problem_create(404, "no such account", NULL);
    assert_string_equal(json_string_value(json_object_get(p, "type")), "tag:postbus.example,2026:problem/not-found");
    assert_int_equal(json_integer_value(json_object_get(p, "status")), 404);
    assert_string_equal(json_string_value(json_object_get(p, "detail")), "no such account");
    assert_null(json_object_get(p, "errors"));
    json_decref(p);
}

static void codes_of_the_bus_have_a_status(void **state) {
    static const struct {
        const char *code;
        unsigned status;
    } cases[] = {{"not_found", 404}, {"exists", 409},      {"invalid", 422}, {"denied", 403},
                 {"busy", 503},      {"unavailable", 503}, {"", 503}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(problem_status(cases[i].code), cases[i].status);
}

static const struct field fields[] = {
    {"name", FIELD_TEXT, true}, {"bytes", FIELD_BYTES, false}, {"list", FIELD_TEXTS, false}};

static void bodies_are_held_against_their_fields(void **state) {
    static const struct {
        const char *body, *pointer; /* of the first error; NULL: none */
    } cases[] = {
        {"{\"name\":\"x\"}", NULL},
        {"{\"name\":\"x\",\"bytes\":0,\"list\":[\"a\"]}", NULL},
        {"{}", "#/name"},
        {"{\"name\":\"\"}", "#/name"},
        {"{\"name\":1}", "#/name"},
        {"{\"name\":\"x\",\"bytes\":-1}", "#/bytes"},
        {"{\"name\":\"x\",\"bytes\":\"1\"}", "#/bytes"},
        {"{\"name\":\"x\",\"list\":[]}", "#/list"},
        {"{\"name\":\"x\",\"list\":[1]}", "#/list"},
        {"{\"name\":\"x\",\"a~/b\":1}", "#/a~0~1b"}, /* RFC 6901 §3 */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *body = json_loads(cases[i].body, 0, NULL), *errors = fields_check(body, fields, 3);
        if (cases[i].pointer)
            assert_string_equal(json_string_value(json_object_get(json_array_get(errors, 0), "pointer")),
                                cases[i].pointer);
        else
            assert_null(errors);
        json_decref(errors);
        json_decref(body);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_problem_has_the_members_of_rfc_9457),
                                       cmocka_unit_test(codes_of_the_bus_have_a_status),
                                       cmocka_unit_test(bodies_are_held_against_their_fields)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
