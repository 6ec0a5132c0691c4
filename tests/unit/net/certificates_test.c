#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/net/certificates.h"
#include "libcommon/net/tls_ticket.h"

static char directory[64];

static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int set_up(void **state) {
    (void)state;
    strcpy(directory, "/tmp/certificates-XXXXXX");
    assert_non_null(mkdtemp(directory));
    return 0;
}

static int tear_down(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

/* tls.crt and tls.key first; names without their key, tls.next.crt and other files are none of
 * it. */
static void finds_pairs(void **state) {
    struct certificates c;
    (void)state;
    put("tls.crt", "c");
    put("tls.key", "k");
    put("tls.next.crt", "c");
    put("tls.next.key", "k");
    put("tls.Mail.Example.org.crt", "c");
    put("tls.Mail.Example.org.key", "k");
    put("tls._.example.net.crt", "c");
    put("tls._.example.net.key", "k");
    put("tls.alone.example.crt", "c");
    put("admin.token", "t");
    certificates_find(directory, &c);
    assert_int_equal(c.count, 3);
    assert_string_equal(c.files[0].name, "");
    assert_int_equal(certificates_choose(&c, "mail.example.org"), certificates_choose(&c, "MAIL.example.ORG"));
    assert_string_equal(c.files[certificates_choose(&c, "mail.example.org")].name, "mail.example.org");
    assert_string_equal(c.files[certificates_choose(&c, "a.example.net")].name, "_.example.net");
    assert_int_equal(certificates_choose(&c, "example.net"), 0);
    assert_int_equal(certificates_choose(&c, "a.b.example.net"), 0);
    assert_int_equal(certificates_choose(&c, "example.org"), 0);
    assert_int_equal(certificates_choose(&c, ""), 0);
    assert_int_equal(certificates_choose(&c, NULL), 0);
    certificates_free(&c);
}

/* Any change of any of the files changes the mark; reading again does not. */
static void sees_changes(void **state) {
    struct certificates a, b;
    (void)state;
    put("tls.crt", "c");
    put("tls.key", "k");
    certificates_find(directory, &a);
    certificates_find(directory, &b);
    assert_true(a.mark == b.mark);
    certificates_free(&b);
    put("tls.key", "other");
    certificates_find(directory, &b);
    assert_true(a.mark != b.mark);
    certificates_free(&a);
    put("tls.a.example.crt", "c");
    put("tls.a.example.key", "k");
    certificates_find(directory, &a);
    assert_true(a.mark != b.mark);
    put("ticket.key", "another");
    certificates_free(&b);
    certificates_find(directory, &b);
    assert_true(a.mark != b.mark);
    certificates_free(&a);
    certificates_free(&b);
}

/* Nothing there, and a directory that is not there: no certificate at all. */
static void finds_nothing(void **state) {
    struct certificates c;
    (void)state;
    put("tls.crt", "c");
    certificates_find(directory, &c);
    assert_int_equal(c.count, 0);
    certificates_free(&c);
    certificates_find("/nowhere/at/all", &c);
    assert_int_equal(c.count, 0);
    certificates_free(&c);
}

static void bounds_the_names(void **state) {
    struct certificates c;
    (void)state;
    put("tls.crt", "c");
    put("tls.key", "k");
    for (int i = 0; i < CERTIFICATES_MAX + 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "tls.h%d.example.crt", i);
        put(name, "c");
        snprintf(name, sizeof name, "tls.h%d.example.key", i);
        put(name, "k");
    }
    certificates_find(directory, &c);
    assert_int_equal(c.count, CERTIFICATES_MAX);
    assert_int_equal(c.left_out, 6);
    assert_string_equal(c.files[0].name, "");
    certificates_free(&c);
}

/* Keys depend on the secret and the period, and on nothing else. */
static void derives_ticket_keys(void **state) {
    struct tls_ticket_key a, b;
    (void)state;
    tls_ticket_key_derive("a secret", 20000, &a);
    tls_ticket_key_derive("a secret", 20000, &b);
    assert_memory_equal(&a, &b, sizeof a);
    tls_ticket_key_derive("a secret", 20001, &b);
    assert_memory_not_equal(a.name, b.name, sizeof a.name);
    assert_memory_not_equal(a.aes, b.aes, sizeof a.aes);
    assert_memory_not_equal(a.hmac, b.hmac, sizeof a.hmac);
    tls_ticket_key_derive("another secret", 20000, &b);
    assert_memory_not_equal(a.name, b.name, sizeof a.name);
    assert_memory_not_equal(a.aes, b.aes, sizeof a.aes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_pairs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sees_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finds_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounds_the_names, set_up, tear_down),
        cmocka_unit_test(derives_ticket_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
