/* Zones whose servers the operator names (services/verifier/dns/stub_zones.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/verifier/dns/stub_zones.h"

static void test_names_in_and_outside_of_zones(void **state) {
    static const struct {
        const char *stubs, *name;
        bool has;
    } cases[] = {
        {"corp.test=10.0.0.53", "corp.test", true},
        {"corp.test=10.0.0.53", "mx.corp.test", true},
        {"corp.test=10.0.0.53", "MX.Corp.Test.", true},
        {"corp.test.=10.0.0.53@5353", "mx.corp.test", true},
        {"a.test=10.0.0.1, corp.test=10.0.0.53", "mx.corp.test", true},
        {"corp.test=10.0.0.53", "evilcorp.test", false}, /* the zone's name must begin at a label */
        {"corp.test=10.0.0.53", "corp.test.example", false},
        {"corp.test=10.0.0.53", "test", false},
        {"corp.test", "corp.test", false}, /* no servers are named */
        {"=10.0.0.53", "corp.test", false},
        {"", "corp.test", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (stub_zones_have(cases[i].stubs, slice_of(cases[i].name)) != cases[i].has)
            fail_msg("\"%s\" in \"%s\"", cases[i].name, cases[i].stubs);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names_in_and_outside_of_zones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
