/* The PROXY protocol's headers and the networks of proxies, as tables (sections of the
 * specification). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>

#include "libcommon/net/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define FOUR                                                                                                           \
    "\xc0\0\2\1"                                                                                                       \
    "\xc0\0\2\2"                                                                                                       \
    "\x12\x34"                                                                                                         \
    "\0\x19"
#define SIX                                                                                                            \
    "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"                                                                            \
    "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2"                                                                            \
    "\x12\x34"                                                                                                         \
    "\0\x19"
#define BYTES(text) {text, sizeof(text) - 1}

static void headers(void **state) {
    static const struct {
        struct slice bytes;
        int length;         /* of the header; 0: incomplete; -1: invalid */
        const char *client; /* NULL: the proxy itself */
    } cases[] = {
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4660 25\r\nEHLO x"), 40, "192.0.2.1 4660"},
        {BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 4660 25\r\n"), 44, "2001:db8::1 4660"},
        {BYTES("PROXY UNKNOWN\r\n"), 15, NULL},
        {BYTES("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\nrest"), 43, NULL},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4660 25\r"), 0, NULL},
        {BYTES("PRO"), 0, NULL},
        {BYTES(""), 0, NULL},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4660 25\n\n"), 0, NULL},
        {BYTES("PROXY TCP4  192.0.2.1 192.0.2.2 4660 25\r\n"), -1, NULL},
        {BYTES("PROXY TCP4 192.0.2.01 192.0.2.2 4660 25\r\n"), -1, NULL},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 04660 25\r\n"), -1, NULL},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n"), -1, NULL},
        {BYTES("PROXY TCP4 2001:db8::1 192.0.2.2 4660 25\r\n"), -1, NULL},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 4660 25 1\r\n"), -1, NULL},
        {BYTES("PROXY TCP5 192.0.2.1 192.0.2.2 4660 25\r\n"), -1, NULL},
        {BYTES("PROXY UNKNOWNS\r\n"), -1, NULL},
        {BYTES("EHLO x\r\n"), -1, NULL},
        {BYTES(SIGNATURE "\x21\x11\0\xc" FOUR "EHLO"), 28, "192.0.2.1 4660"},
        {BYTES(SIGNATURE "\x21\x11\0\xf" FOUR "\4\0\0"), 31, "192.0.2.1 4660"}, /* a TLV is skipped */
        {BYTES(SIGNATURE "\x21\x21\0\x24" SIX), 52, "2001:db8::1 4660"},
        {BYTES(SIGNATURE "\x20\0\0\0"), 16, NULL},         /* LOCAL */
        {BYTES(SIGNATURE "\x20\x11\0\xc" FOUR), 28, NULL}, /* LOCAL: the addresses do not count */
        {BYTES(SIGNATURE "\x21\0\0\1x"), 17, NULL},        /* UNSPEC */
        {BYTES(SIGNATURE "\x21\x12\0\xc" FOUR), 28, NULL}, /* UDP */
        {BYTES(SIGNATURE "\x21\x11\0\xc"
                         "\xc0\0\2"),
         0, NULL},
        {BYTES(SIGNATURE), 0, NULL},
        {BYTES(SIGNATURE "\x21\x11\0\xb" FOUR), -1, NULL}, /* shorter than its addresses */
        {BYTES(SIGNATURE "\x11\x11\0\xc" FOUR), -1, NULL}, /* version 1 */
        {BYTES(SIGNATURE "\x22\x11\0\xc" FOUR), -1, NULL}, /* an unknown command */
        {BYTES(SIGNATURE "\x21\x41\0\xc" FOUR), -1, NULL}, /* an unknown family */
        {BYTES(SIGNATURE "\x21\x13\0\xc" FOUR), -1, NULL}, /* an unknown transport */
        {BYTES(SIGNATURE "\x21\x11\xff\xff"), -1, NULL},   /* too long */
        {BYTES("\r\n\r\n\r\n"), -1, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct proxy_header header;
        int length = proxy_header_parse(cases[i].bytes, &header);
        if (length != cases[i].length) print_error("case %zu\n", i);
        assert_int_equal(length, cases[i].length);
        if (length <= 0) continue;
        assert_int_equal(header.has_client, cases[i].client != NULL);
        if (!header.has_client) continue;
        char ip[64], text[80];
        bool v4 = header.client.ss_family == AF_INET;
        const struct sockaddr_in *four = (const struct sockaddr_in *)&header.client;
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&header.client;
        inet_ntop(header.client.ss_family, v4 ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr, ip,
                  sizeof ip);
        snprintf(text, sizeof text, "%s %d", ip, ntohs(v4 ? four->sin_port : six->sin6_port));
        assert_string_equal(text, cases[i].client);
    }
}

static void a_line_that_does_not_end_is_invalid(void **state) {
    char line[108];
    struct proxy_header header;
    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(proxy_header_parse(slice_make(line, 106), &header), 0);
    assert_int_equal(proxy_header_parse(slice_make(line, 107), &header), -1);
}

static void networks(void **state) {
    static const struct {
        const char *list, *address;
        bool valid, has;
    } cases[] = {
        {"", "192.0.2.1", true, false},
        {"192.0.2.0/24", "192.0.2.1", true, true},
        {"192.0.2.0/24", "192.0.3.1", true, false},
        {"192.0.2.0/24", "::ffff:192.0.2.9", true, true},
        {"192.0.2.7", "192.0.2.7", true, true},
        {"192.0.2.7", "192.0.2.6", true, false},
        {"10.0.0.0/9", "10.127.0.1", true, true},
        {"10.0.0.0/9", "10.128.0.1", true, false},
        {"0.0.0.0/0", "8.8.8.8", true, true},
        {"0.0.0.0/0", "2001:db8::1", true, false},
        {"fd00::/8, 192.0.2.0/24", "fd12::1", true, true},
        {"fd00::/8 192.0.2.0/24", "192.0.2.1", true, true},
        {"::/0", "192.0.2.1", true, true},
        {"192.0.2.0/33", "", false, false},
        {"fd00::/129", "", false, false},
        {"example.org", "", false, false},
        {"192.0.2.0/", "", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct proxy_networks list;
        bool valid = proxy_networks_parse(slice_of(cases[i].list), &list);
        if (valid != cases[i].valid) print_error("%s\n", cases[i].list);
        assert_int_equal(valid, cases[i].valid);
        if (!valid) continue;
        struct sockaddr_in four = {.sin_family = AF_INET};
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        bool v4 = inet_pton(AF_INET, cases[i].address, &four.sin_addr) == 1;
        if (!v4) assert_int_equal(inet_pton(AF_INET6, cases[i].address, &six.sin6_addr), 1);
        bool has = proxy_networks_have(&list, v4 ? (struct sockaddr *)&four : (struct sockaddr *)&six);
        if (has != cases[i].has) print_error("%s %s\n", cases[i].list, cases[i].address);
        assert_int_equal(has, cases[i].has);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(a_line_that_does_not_end_is_invalid),
        cmocka_unit_test(networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
