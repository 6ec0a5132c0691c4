/* DEFLATE on a connection: both ways, at rest in between, and against bytes that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/base/buf.h"
#include "libcommon/net/compression.h"

enum { ROOM = 1 << 20 };

struct pair {
    struct compression *a, *b;
    struct evbuffer *wire, *plain;
};

static struct pair open_pair(void) {
    return (struct pair){compression_create(), compression_create(), evbuffer_new(), evbuffer_new()};
}

static void close_pair(struct pair *p) {
    compression_destroy(p->a);
    compression_destroy(p->b);
    evbuffer_free(p->wire);
    evbuffer_free(p->plain);
}

static void expect(struct pair *p, struct slice bytes) {
    assert_int_equal(evbuffer_get_length(p->plain), bytes.n);
    assert_memory_equal(evbuffer_pullup(p->plain, -1), bytes.p, bytes.n);
    evbuffer_drain(p->plain, bytes.n);
}

static void pass(struct pair *p, struct slice bytes) {
    compression_write(p->a, bytes, false, p->wire);
    assert_int_equal(compression_read(p->b, p->wire, p->plain, ROOM), 0);
    assert_int_equal(evbuffer_get_length(p->wire), 0);
    expect(p, bytes);
}

static void each_write_can_be_read_at_once(void **state) {
    (void)state;
    struct pair p = open_pair();
    struct buf large = {0};
    for (int i = 0; i < 20000; i++) buf_printf(&large, "* %d FETCH (FLAGS ())\r\n", i * 7919);
    pass(&p, SLICE("a"));
    pass(&p, SLICE("* OK Still here\r\n"));
    pass(&p, buf_slice(&large));
    compression_write(p.a, buf_slice(&large), false, p.wire);
    assert_true(evbuffer_get_length(p.wire) < large.n / 3);
    buf_free(&large);
    close_pair(&p);
}

/* After a rest, the text before it is still referred to. */
static void both_ends_may_rest(void **state) {
    (void)state;
    struct pair p = open_pair();
    struct buf text = {0};
    for (unsigned i = 0; i < 300; i++) buf_printf(&text, "%x", i * 2654435761u);
    pass(&p, buf_slice(&text));
    compression_write(p.a, buf_slice(&text), false, p.wire);
    assert_true(evbuffer_get_length(p.wire) < 100);
    compression_rest(p.b);
    assert_false(compression_is_awake(p.b));
    assert_int_equal(compression_read(p.b, p.wire, p.plain, ROOM), 0);
    expect(&p, buf_slice(&text));
    compression_rest(p.a);
    assert_false(compression_is_awake(p.a));
    for (int i = 0; i < 3; i++) {
        pass(&p, buf_slice(&text));
        if (i == 1) compression_rest(p.b);
    }
    buf_free(&text);
    close_pair(&p);
}

static void no_more_is_made_than_there_is_room_for(void **state) {
    (void)state;
    struct pair p = open_pair();
    size_t all = 8 * ROOM, got = 0;
    char *zeros = calloc(1, all);
    compression_write(p.a, slice_make(zeros, all), false, p.wire);
    while (got < all) {
        assert_int_equal(compression_read(p.b, p.wire, p.plain, ROOM), 0);
        size_t n = evbuffer_get_length(p.plain);
        assert_true(n && n <= ROOM + 16 * 1024);
        evbuffer_drain(p.plain, n);
        got += n;
    }
    assert_int_equal(got, all);
    free(zeros);
    close_pair(&p);
}

static void in_the_middle_of_a_block_it_stays_awake(void **state) {
    (void)state;
    struct pair p = open_pair();
    struct evbuffer *first = evbuffer_new();
    struct slice text = SLICE("a001 SEARCH SUBJECT \"compressed\"\r\n");
    compression_write(p.a, text, false, p.wire);
    evbuffer_remove_buffer(p.wire, first, 10);
    assert_int_equal(compression_read(p.b, first, p.plain, ROOM), 0);
    compression_rest(p.b);
    assert_int_equal(compression_read(p.b, p.wire, p.plain, ROOM), 0);
    expect(&p, text);
    evbuffer_free(first);
    close_pair(&p);
}

static void what_comes_after_the_end_stays(void **state) {
    (void)state;
    struct pair p = open_pair();
    compression_write(p.a, SLICE("a UNAUTHENTICATE\r\n"), true, p.wire);
    evbuffer_add(p.wire, "b LOGIN x y\r\n", 13);
    assert_int_equal(compression_read(p.b, p.wire, p.plain, ROOM), 1);
    expect(&p, SLICE("a UNAUTHENTICATE\r\n"));
    assert_int_equal(evbuffer_get_length(p.wire), 13);
    close_pair(&p);
}

static void other_bytes_are_refused(void **state) {
    (void)state;
    struct pair p = open_pair();
    evbuffer_add(p.wire, "\xff\xff\xff\xff", 4);
    assert_int_equal(compression_read(p.b, p.wire, p.plain, ROOM), -1);
    close_pair(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_write_can_be_read_at_once),
        cmocka_unit_test(both_ends_may_rest),
        cmocka_unit_test(no_more_is_made_than_there_is_room_for),
        cmocka_unit_test(in_the_middle_of_a_block_it_stays_awake),
        cmocka_unit_test(what_comes_after_the_end_stays),
        cmocka_unit_test(other_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
