/* A domain's own DNS settings: what is taken, and what could break a zone file or a tag list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "services/accounts/accounts.h"

static void values(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
        bool taken;
    } cases[] = {
        {"dmarc_policy", "\"reject\"", true},
        {"dmarc_policy", "null", true},
        {"dmarc_policy", "\"maybe\"", false},
        {"dmarc_policy", "\"\"", false},
        {"dmarc_policy", "1", false},
        {"mta_sts", "\"\"", true},
        {"mta_sts", "\"enforce\"", true},
        {"mta_sts", "\"on\"", false},
        {"dmarc_rua", "\"mailto:a@b.test,https://c.test/r\"", true},
        {"dmarc_rua", "\"\"", true},
        {"dmarc_rua", "\"a@b.test\"", false},
        {"dmarc_rua", "\"mailto:a@b.test, mailto:c@d.test\"", false},
        {"dmarc_rua", "\"mailto:a@b.test; p=none\"", false},
        {"dmarc_ruf", "\"mailto:a\\\"b@c.test\"", false},
        {"dmarc_ruf", "\"mailto:\\u00e9@c.test\"", false},
        {"bimi_location", "\"https://a.test/l.svg\"", true},
        {"bimi_location", "\"http://a.test/l.svg\"", false},
        {"bimi_authority", "\"https://a.test/a,b\"", false},
        {"caa", "[]", true},
        {"caa", "[\"ca.test\",\"iodef:mailto:s@a.test\"]", true},
        {"caa", "[\"ca.test\\\"\"]", false},
        {"caa", "[\"\"]", false},
        {"caa", "\"ca.test\"", false},
        {"caa", "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]", false},
        {"unknown", "\"x\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
        const char *problem = domain_setting_problem(cases[i].name, value);
        if (!problem != cases[i].taken)
            fail_msg("%s = %s: %s", cases[i].name, cases[i].value, problem ? problem : "taken");
        json_decref(value);
    }
}

static void fields_of_the_store(void **state) {
    (void)state;
    json_t *fields = json_pack("{s:s,s:s,s:s,s:s}", "created", "x", "dns.dmarc_policy", "\"none\"", "dns.caa", "[]",
                               "dns.broken", "{");
    json_t *read = domain_settings_read(fields), *want = json_pack("{s:s,s:[]}", "dmarc_policy", "none", "caa");
    assert_true(json_equal(read, want));
    json_decref(fields), json_decref(read), json_decref(want);
}

int main(void) {
    static const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(fields_of_the_store)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
