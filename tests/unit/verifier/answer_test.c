/* DNS answers from their wire format (RFC 1035 §4), built here byte by byte: records, aliases,
 * negative answers, and what is cut, loops or lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/base/buf.h"
#include "services/verifier/dns/answer.h"
#include "services/verifier/dns/answer_cache.h"
#include "services/verifier/policy/sts_memory.h"

static void add16(struct buf *b, unsigned n) {
    buf_add_char(b, (char)(n >> 8));
    buf_add_char(b, (char)n);
}
static void add32(struct buf *b, uint32_t n) {
    add16(b, n >> 16);
    add16(b, n & 0xffff);
}
static void add_name(struct buf *b, const char *name) {
    struct slice rest = slice_of(name), label;
    while (rest.n) {
        if (!slice_cut(&rest, '.', &label)) label = rest, rest.n = 0;
        buf_add_char(b, (char)label.n);
        buf_add_slice(b, label);
    }
    buf_add_char(b, 0);
}
static void begin(struct buf *b, unsigned rcode, unsigned answers, unsigned authority) {
    add16(b, 7);
    add16(b, 0x8180 | rcode);
    add16(b, 1);
    add16(b, answers);
    add16(b, authority);
    add16(b, 0);
    add_name(b, "h.test");
    add16(b, TYPE_MX);
    add16(b, 1);
}
static void add_record(struct buf *b, const char *name, unsigned type, uint32_t ttl, struct slice data) {
    add_name(b, name);
    add16(b, type);
    add16(b, 1);
    add32(b, ttl);
    add16(b, (unsigned)data.n);
    buf_add_slice(b, data);
}
static void add_alias(struct buf *b, const char *name, const char *target, uint32_t ttl) {
    struct buf data = {0};
    add_name(&data, target);
    add_record(b, name, TYPE_CNAME, ttl, buf_slice(&data));
    buf_free(&data);
}

static int parse(struct arena *arena, struct buf *packet, int type, struct answer *a) {
    int error = answer_parse(arena, buf_slice(packet), SLICE("H.Test."), type, a);
    buf_free(packet);
    return error;
}

static void records_of_the_asked_name_and_type_are_taken(void **state) {
    struct arena *arena = arena_create();
    struct buf b = {0};
    struct answer a;
    (void)state;
    begin(&b, 0, 4, 0);
    add_record(&b, "h.test", TYPE_MX, 300,
               SLICE("\0\012\002Mx\300\014")); /* its name ends with a pointer to the question's */
    add_record(&b, "other.test", TYPE_MX, 1, SLICE("\0\001\0"));
    add_record(&b, "H.TEST", TYPE_MX, 200, SLICE("\0\024\0"));
    add_record(&b, "h.test", TYPE_TXT, 1, SLICE("\001x"));
    assert_int_equal(parse(arena, &b, TYPE_MX, &a), 0);
    assert_int_equal(a.status, ANSWER_OK);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.ttl, 200); /* the least of those that count */
    assert_true(a.records[0].preference == 10 && slice_is(a.records[0].data, "mx.h.test"));
    assert_true(a.records[1].preference == 20 && a.records[1].data.n == 0);
    begin(&b, 0, 1, 0);
    add_record(&b, "h.test", TYPE_TXT, 5, SLICE("\003v=s\000\002pf"));
    assert_int_equal(parse(arena, &b, TYPE_TXT, &a), 0);
    assert_true(slice_is(a.records[0].data, "v=spf")); /* RFC 7208 §3.3: strings are put together */
    arena_destroy(arena);
}

static void aliases_are_followed_in_any_order_and_no_further_than_the_bound(void **state) {
    struct arena *arena = arena_create();
    struct buf b = {0};
    struct answer a;
    (void)state;
    begin(&b, 0, 3, 0);
    add_alias(&b, "b.test", "c.test", 50);
    add_record(&b, "c.test", TYPE_A, 400, SLICE("\300\000\002\001"));
    add_alias(&b, "h.test", "B.test", 60);
    assert_int_equal(parse(arena, &b, TYPE_A, &a), 0);
    assert_true(a.count == 1 && slice_is(a.canonical, "c.test") && a.ttl == 50);
    begin(&b, 0, 2, 0); /* a loop */
    add_alias(&b, "h.test", "b.test", 50);
    add_alias(&b, "b.test", "h.test", 50);
    assert_int_equal(parse(arena, &b, TYPE_A, &a), -1);
    assert_true(a.status == ANSWER_FAILED && slice_find(a.reason, 'a') >= 0);
    for (unsigned length = ANSWER_CHAIN_MAX - 1; length <= ANSWER_CHAIN_MAX; length++) {
        begin(&b, 0, length, 0);
        for (unsigned i = 0; i < length; i++)
            add_alias(&b, i ? arena_printf(arena, "n%u.test", i) : "h.test", arena_printf(arena, "n%u.test", i + 1),
                      50);
        assert_int_equal(parse(arena, &b, TYPE_A, &a), length < ANSWER_CHAIN_MAX ? 0 : -1);
    }
    arena_destroy(arena);
}

static void what_is_not_there_lives_as_long_as_its_soa_says(void **state) {
    static const char soa[] = "\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\144"; /* two names that are the root, serial …
                                                                                   minimum 100 */
    struct arena *arena = arena_create();
    struct buf b = {0};
    struct answer a;
    (void)state;
    begin(&b, 3, 0, 1);
    add_record(&b, "test", TYPE_SOA, 900, slice_make(soa, 22));
    assert_int_equal(parse(arena, &b, TYPE_A, &a), 0);
    assert_true(a.status == ANSWER_NXDOMAIN && a.ttl == 100); /* RFC 2308 §5: the lesser of the
                                                                 two */
    begin(&b, 0, 0, 0);
    assert_int_equal(parse(arena, &b, TYPE_A, &a), 0);
    assert_true(a.status == ANSWER_NODATA && a.ttl > 0);
    begin(&b, 2, 0, 0);
    assert_int_equal(parse(arena, &b, TYPE_A, &a), -1);
    arena_destroy(arena);
}

static void what_is_malformed_fails_as_a_whole(void **state) {
    static const struct {
        unsigned type;
        const char *data;
        size_t n;
    } cases[] = {
        {TYPE_A, "\1\2\3", 3},        /* too short */
        {TYPE_A, "\1\2\3\4\5", 5},    /* too long */
        {TYPE_AAAA, "\1\2\3\4", 4},   /* an IPv4 address */
        {TYPE_MX, "\0\1", 2},         /* no name */
        {TYPE_MX, "\0\1\1a", 4},      /* a name without an end */
        {TYPE_MX, "\0\1\1a\0x", 6},   /* bytes behind it */
        {TYPE_MX, "\0\1\300\377", 4}, /* a pointer forwards */
        {TYPE_CNAME, "\100a", 2},     /* a label type that does not exist */
        {TYPE_TXT, "\5abc", 4},       /* a string longer than the record */
    };
    struct arena *arena = arena_create();
    struct buf b = {0};
    struct answer a;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(&b, 0, 1, 0);
        add_record(&b, "h.test", cases[i].type, 60, slice_make(cases[i].data, cases[i].n));
        if (parse(arena, &b, (int)cases[i].type, &a) != -1) fail_msg("case %zu was taken", i);
        assert_true(a.status == ANSWER_FAILED && a.reason.n);
    }
    begin(&b, 0, 1, 0); /* a record that is announced and not there */
    assert_int_equal(parse(arena, &b, TYPE_A, &a), -1);
    begin(&b, 0, ANSWER_RECORDS_MAX + 1, 0);
    assert_int_equal(parse(arena, &b, TYPE_A, &a), -1);
    assert_int_equal(parse(arena, &b, TYPE_A, &a), -1); /* nothing at all */
    arena_destroy(arena);
}

static void the_cache_keeps_answers_for_their_time_and_forgets_the_least_used(void **state) {
    struct answer_cache *c = answer_cache_create(3);
    struct answer a = {.status = ANSWER_NODATA};
    (void)state;
    for (int i = 0; i < 3; i++) answer_cache_put(c, slice_make(&"abc"[i], 1), TYPE_A, &a, 10, 0);
    assert_non_null(answer_cache_get(c, SLICE("a"), TYPE_A, 5));
    assert_null(answer_cache_get(c, SLICE("a"), TYPE_MX, 5));
    answer_cache_put(c, SLICE("d"), TYPE_A, &a, 10, 5);
    assert_null(answer_cache_get(c, SLICE("b"), TYPE_A, 5)); /* a was used since */
    assert_non_null(answer_cache_get(c, SLICE("a"), TYPE_A, 9999999));
    assert_null(answer_cache_get(c, SLICE("a"), TYPE_A, 10000000)); /* ten seconds */
    answer_cache_put(c, SLICE("e"), TYPE_A, &a, 0, 5);
    assert_null(answer_cache_get(c, SLICE("e"), TYPE_A, 5));
    answer_cache_destroy(c);
}

static void a_worker_remembers_policies_for_a_while(void **state) {
    struct sts_memory *m = sts_memory_create();
    json_t *kept = json_pack("{s:s}", "id", "1");
    (void)state;
    sts_memory_put(m, SLICE("a.test"), kept, 1000);
    sts_memory_put(m, SLICE("a.test"), kept, 2000);
    assert_ptr_equal(sts_memory_get(m, SLICE("a.test"), 3000, 1000), kept);
    assert_null(sts_memory_get(m, SLICE("a.test"), 3001, 1000));
    assert_null(sts_memory_get(m, SLICE("b.test"), 3000, 1000));
    json_decref(kept);
    sts_memory_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_the_asked_name_and_type_are_taken),
        cmocka_unit_test(aliases_are_followed_in_any_order_and_no_further_than_the_bound),
        cmocka_unit_test(what_is_not_there_lives_as_long_as_its_soa_says),
        cmocka_unit_test(what_is_malformed_fails_as_a_whole),
        cmocka_unit_test(the_cache_keeps_answers_for_their_time_and_forgets_the_least_used),
        cmocka_unit_test(a_worker_remembers_policies_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
