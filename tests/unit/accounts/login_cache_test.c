#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "services/accounts/login_cache.h"

static const char ann[] = "ann@a.test", bob[] = "bob@a.test", eve[] = "eve@b.test";

static struct login_cache *filled(void) {
    struct login_cache *c = login_cache_create(60, 100);
    login_cache_add(c, ann, "hash 1", "secret 1");
    login_cache_add(c, bob, "hash 2", "secret 2");
    login_cache_add(c, eve, "hash 3", "secret 3");
    return c;
}

static void test_only_the_same_name_hash_and_password_fit(void **state) {
    struct login_cache *c = filled();
    (void)state;
    assert_true(login_cache_has(c, ann, "hash 1", "secret 1"));
    assert_false(login_cache_has(c, ann, "hash 1", "secret 2"));
    assert_false(login_cache_has(c, ann, "another hash", "secret 1"));
    assert_false(login_cache_has(c, bob, "hash 1", "secret 1"));
    assert_false(login_cache_has(c, ann, "hash 1s", "ecret 1"));
    login_cache_destroy(c);
}

static void test_a_name_has_one_password(void **state) {
    struct login_cache *c = filled();
    (void)state;
    login_cache_add(c, ann, "hash 9", "secret 9");
    assert_int_equal(login_cache_count(c), 3);
    assert_true(login_cache_has(c, ann, "hash 9", "secret 9"));
    assert_false(login_cache_has(c, ann, "hash 1", "secret 1"));
    login_cache_destroy(c);
}

static void test_one_name_or_one_domain_is_forgotten(void **state) {
    struct login_cache *c = filled();
    (void)state;
    login_cache_forget(c, ann);
    login_cache_forget(c, "nobody@a.test");
    assert_false(login_cache_has(c, ann, "hash 1", "secret 1"));
    assert_true(login_cache_has(c, bob, "hash 2", "secret 2"));
    login_cache_forget_domain(c, "a.test");
    assert_false(login_cache_has(c, bob, "hash 2", "secret 2"));
    assert_true(login_cache_has(c, eve, "hash 3", "secret 3"));
    assert_int_equal(login_cache_count(c), 1);
    login_cache_destroy(c);
}

static void test_the_bound_and_the_time(void **state) {
    struct login_cache *c = login_cache_create(60, 10);
    char name[32];
    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%d@a.test", i);
        login_cache_add(c, name, "h", "p");
    }
    assert_int_equal(login_cache_count(c), 10);
    assert_true(login_cache_has(c, "n0@a.test", "h", "p"));
    assert_false(login_cache_has(c, "n19@a.test", "h", "p"));
    login_cache_destroy(c);
    c = login_cache_create(-1, 10); /* over before it begins */
    login_cache_add(c, ann, "h", "p");
    assert_false(login_cache_has(c, ann, "h", "p"));
    assert_int_equal(login_cache_count(c), 0);
    login_cache_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_same_name_hash_and_password_fit),
        cmocka_unit_test(test_a_name_has_one_password),
        cmocka_unit_test(test_one_name_or_one_domain_is_forgotten),
        cmocka_unit_test(test_the_bound_and_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
