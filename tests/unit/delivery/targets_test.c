/* Which servers are tried for a domain, and in which order (RFC 5321 §5.1, RFC 8305 §4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/delivery/destination/targets.h"

/* The addresses in the order in which they are tried, parted by spaces. */
static void take(const char *hosts, bool private_destinations, struct targets *out, char order[1024]) {
    struct worker worker = {.hostname = "mx.here.test"};
    const struct delivery d = {.worker = &worker, .smtp_port = 25, .private_destinations = private_destinations};
    struct arena *arena = arena_create();
    struct buf text = {0};
    buf_printf(&text, "{\"dnssec\":\"insecure\",\"mta_sts\":null,\"hosts\":[%s]}", hosts);
    json_t *route = json_loads(buf_str(&text), 0, NULL);
    assert_non_null(route);
    targets_take(&d, arena, route, &(struct tls_wish){0}, out);
    order[0] = 0;
    for (size_t i = 0; i < out->count; i++) {
        if (i) strcat(order, " ");
        strcat(order, out->each[i].ip);
    }
    json_decref(route);
    buf_free(&text);
    arena_destroy(arena);
}

#define HOST(name, preference, addresses)                                                                              \
    "{\"name\":\"" name "\",\"preference\":" preference ",\"tlsa\":[],\"addresses\":[" addresses "]}"

static void servers_in_their_order(void **state) {
    static const struct {
        const char *hosts, *order;
        bool leads_home, private_only;
    } cases[] = {
        {HOST("a.test", "10", "\"8.8.8.8\"") "," HOST("b.test", "20", "\"9.9.9.9\""), "8.8.8.8 9.9.9.9", false, false},
        /* the families in turn, IPv6 first */
        {HOST("a.test", "10", "\"8.8.8.1\",\"8.8.8.2\",\"2001:4860::1\",\"2001:4860::2\""),
         "2001:4860::1 8.8.8.1 2001:4860::2 8.8.8.2", false, false},
        {HOST("a.test", "10", "\"2001:4860::1\",\"2001:4860::2\""), "2001:4860::1 2001:4860::2", false, false},
        /* no better than this server: left out */
        {HOST("a.test", "10", "\"8.8.8.8\"") "," HOST("MX.here.test", "20", "\"9.9.9.9\"") "," HOST(
             "c.test", "20", "\"9.9.9.8\"") "," HOST("d.test", "30", "\"9.9.9.7\""),
         "8.8.8.8", false, false},
        {HOST("mx.here.test", "10", "\"9.9.9.9\"") "," HOST("d.test", "30", "\"9.9.9.7\""), "", true, false},
        /* inner addresses */
        {HOST("a.test", "10", "\"127.0.0.1\",\"10.0.0.1\",\"::1\""), "", false, true},
        {HOST("a.test", "10", "\"127.0.0.1\"") "," HOST("b.test", "20", "\"9.9.9.9\""), "9.9.9.9", false, false},
        {HOST("a.test", "10", ""), "", false, false},
    };
    struct targets out;
    char order[1024];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        take(cases[i].hosts, false, &out, order);
        if (strcmp(order, cases[i].order) != 0 || out.leads_home != cases[i].leads_home ||
            out.private_only != cases[i].private_only)
            fail_msg("case %zu: %s", i, order);
    }
    take(HOST("a.test", "10", "\"127.0.0.1\""), true, &out, order);
    assert_string_equal(order, "127.0.0.1"); /* a test network */
    take("{\"name\":\"a.test\",\"preference\":1,\"own_zone\":true,\"tlsa\":[],\"addresses\":[\"10.0.0.1\"]}", false,
         &out, order);
    assert_string_equal(order, "10.0.0.1"); /* the operator names the zone's servers */
}

/* However many hosts and addresses a domain has, the ones that are tried are bounded, and each host
 * gets its share. */
static void addresses_are_bounded(void **state) {
    struct buf hosts = {0};
    struct targets out;
    char order[1024];
    (void)state;
    for (int h = 0; h < 40; h++) {
        buf_printf(&hosts, "%s{\"name\":\"h%d.test\",\"preference\":%d,\"tlsa\":[],\"addresses\":[", h ? "," : "", h,
                   h);
        for (int a = 0; a < 30; a++) buf_printf(&hosts, "%s\"8.8.%d.%d\"", a ? "," : "", h, a);
        buf_add_str(&hosts, "]}");
    }
    take(buf_str(&hosts), false, &out, order);
    assert_int_equal(out.count, DESTINATION_ADDRESSES_MAX);
    assert_string_equal(out.each[DESTINATION_HOST_ADDRESSES].ip, "8.8.1.0");
    buf_free(&hosts);
}

/* Among hosts of one preference the order is a new one each time (RFC 5321 §5.1). */
static void equals_take_turns(void **state) {
    struct targets out;
    char order[1024];
    int first[2] = {0, 0};
    (void)state;
    for (int i = 0; i < 200; i++) {
        take(HOST("a.test", "10", "\"8.8.8.8\"") "," HOST("b.test", "10", "\"9.9.9.9\""), false, &out, order);
        first[order[0] == '9']++;
    }
    assert_true(first[0] > 40 && first[1] > 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_in_their_order),
        cmocka_unit_test(addresses_are_bounded),
        cmocka_unit_test(equals_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
