/* The memory of argon2id: it is used again as it is, and the hashes stay right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>

#include "services/accounts/accounts.h"
#include "services/accounts/hash_memory.h"

static const unsigned char salt[] = "0123456789abcdef";

static void hash_with(unsigned char out[32], const char *password) {
    assert_int_equal(
        crypto_pwhash(out, 32, password, strlen(password), salt, 2, hash_memory_bytes(), crypto_pwhash_ALG_ARGON2ID13),
        0);
}

static void used_memory_changes_no_hash(void **state) {
    (void)state;
    unsigned char first[32], second[32], other[32];
    hash_with(first, "secret");
    hash_with(other, "another one"); /* leaves its blocks in the memory */
    hash_with(second, "secret");
    assert_memory_equal(first, second, 32);
    assert_memory_not_equal(first, other, 32);
    void *memory = hash_memory_take();
    memset(memory, 0xa5, hash_memory_bytes());
    assert_int_equal(hash_memory_return(memory), 0);
    hash_with(second, "secret");
    assert_memory_equal(first, second, 32);
}

static void an_area_is_used_by_one_hash_at_a_time(void **state) {
    (void)state;
    void *one = hash_memory_take(), *two = hash_memory_take();
    assert_true(one != MAP_FAILED && two != MAP_FAILED);
    assert_ptr_not_equal(one, two);
    size_t before = hash_memory_kept();
    hash_memory_return(one);
    hash_memory_return(two);
    assert_int_equal(hash_memory_kept(), before + 2);
    assert_ptr_equal(hash_memory_take(), two);
    hash_memory_return(two);
}

static void no_more_than_sixteen_areas_are_kept(void **state) {
    (void)state;
    void *each[20];
    for (size_t i = 0; i < 20; i++) each[i] = hash_memory_take();
    for (size_t i = 0; i < 20; i++) assert_int_equal(hash_memory_return(each[i]), 0);
    assert_int_equal(hash_memory_kept(), 16);
}

static void *hash_often(void *good) {
    for (int i = 0; i < 3; i++) {
        char text[128];
        if (password_hash("secret", text) != 0 || crypto_pwhash_str_verify(text, "secret", 6) != 0) return NULL;
    }
    return good;
}

static void threads_hash_at_once(void **state) {
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, hash_often, threads);
    for (size_t i = 0; i < 4; i++) {
        void *good;
        pthread_join(threads[i], &good);
        assert_ptr_equal(good, threads);
    }
}

int main(void) {
    if (sodium_init() < 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(used_memory_changes_no_hash),
        cmocka_unit_test(an_area_is_used_by_one_hash_at_a_time),
        cmocka_unit_test(threads_hash_at_once),
        cmocka_unit_test(no_more_than_sixteen_areas_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
