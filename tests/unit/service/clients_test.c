/* Connections of a client, counted over threads; an IPv6 client is its /64 network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <pthread.h>

#include <cmocka.h>

#include "libcommon/service/clients.h"

static void each_network_has_its_own_count(void **state) {
    struct clients *c = clients_create(2);
    (void)state;
    assert_true(clients_enter(c, "2001:db8:1:2::1"));
    assert_true(clients_enter(c, "2001:db8:1:2:ffff::2"));
    assert_false(clients_enter(c, "2001:db8:1:2:3:4:5:6")); /* the same /64 */
    assert_true(clients_enter(c, "2001:db8:1:3::1"));       /* another one */
    assert_true(clients_enter(c, "192.0.2.1"));
    assert_true(clients_enter(c, "192.0.2.1"));
    assert_false(clients_enter(c, "192.0.2.1"));
    assert_true(clients_enter(c, "192.0.2.2"));
    clients_leave(c, "2001:db8:1:2::1");
    assert_true(clients_enter(c, "2001:db8:1:2::9"));
    clients_leave(c, "198.51.100.1"); /* nobody's */
    clients_destroy(c);
}

static void *come_and_go(void *c) {
    for (int i = 0; i < 20000; i++) {
        while (!clients_enter(c, "192.0.2.1")) {
        }
        clients_leave(c, "192.0.2.1");
    }
    return NULL;
}

static void threads_share_the_count(void **state) {
    struct clients *c = clients_create(4);
    pthread_t threads[4];
    (void)state;
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, come_and_go, c);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) assert_true(clients_enter(c, "192.0.2.1"));
    assert_false(clients_enter(c, "192.0.2.1"));
    clients_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_network_has_its_own_count),
                                       cmocka_unit_test(threads_share_the_count)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
