/* Which addresses are of the public Internet (RFC 6890), as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>

#include "libcommon/net/address.h"

static void which_are_public(void **state) {
    static const struct {
        const char *ip;
        bool is_public;
    } cases[] = {
        {"0.0.0.0", false},
        {"10.1.2.3", false},
        {"100.64.0.1", false},
        {"100.128.0.1", true},
        {"127.0.0.1", false},
        {"127.255.0.1", false},
        {"169.254.169.254", false},
        {"172.15.0.1", true},
        {"172.16.0.1", false},
        {"172.31.255.255", false},
        {"172.32.0.1", true},
        {"192.0.2.1", false},
        {"192.168.1.1", false},
        {"198.18.0.1", false},
        {"198.51.100.1", false},
        {"203.0.113.1", false},
        {"224.0.0.1", false},
        {"255.255.255.255", false},
        {"8.8.8.8", true},
        {"193.0.14.129", true},
        {"::", false},
        {"::1", false},
        {"fe80::1", false},
        {"fc00::1", false},
        {"fd12::1", false},
        {"ff02::1", false},
        {"::ffff:127.0.0.1", false},
        {"::ffff:8.8.8.8", true},
        {"2001:db8::1", false},
        {"2001::1", false},
        {"2002:7f00:1::", false},
        {"2002:0808:0808::", true},
        {"64:ff9b::7f00:1", false},
        {"64:ff9b::808:808", true},
        {"2001:4860:4860::8888", true},
        {"3fff::1", false},
        {"100::1", false},
        {"4000::1", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sockaddr_storage a = {0};
        struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
        a.ss_family = strchr(cases[i].ip, ':') ? AF_INET6 : AF_INET;
        void *to = a.ss_family == AF_INET6 ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr;
        assert_int_equal(inet_pton(a.ss_family, cases[i].ip, to), 1);
        if (net_address_is_public((struct sockaddr *)&a) != cases[i].is_public) fail_msg("%s", cases[i].ip);
    }
    struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(net_address_is_public(&local));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(which_are_public)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
