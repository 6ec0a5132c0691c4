/* Header fields are added and dropped, and not a byte of the body changes or moves where there is
 * room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/smtpd/smtpd.h"

/* those of main.c, which is not linked here */
struct metric smtpd_connections, smtpd_accepted, smtpd_delivered, smtpd_refused, smtpd_deferred, smtpd_bytes;

static struct worker worker = {.hostname = "mx.test"};
static struct smtpd_process process = {.memory_max = SIZE_MAX};
static struct smtpd smtpd = {.worker = &worker, .process = &process};

static struct session *begin(const char *text) {
    struct session *s = memory_alloc(sizeof *s);
    s->smtpd = &smtpd;
    s->helo = memory_copy(SLICE("client.test"));
    s->t.arena = arena_create();
    message_begin(s);
    buf_add_str(&s->t.text, text);
    return s;
}

static void finish(struct session *s) {
    buf_free(&s->t.text);
    buf_free(&s->t.change.on_top);
    arena_destroy(s->t.arena);
    free(s->helo);
    free(s);
}

/* The message without our Received field. */
static void assert_finished(struct session *s, const char *on_top, const char *rest) {
    const char *body = s->t.text.data + s->t.text.n;
    struct slice whole = message_finish(s);
    size_t n = strlen(on_top), m = strlen(rest);
    assert_true(whole.n >= n + m);
    assert_memory_equal(whole.p, on_top, n);
    assert_memory_equal(whole.p + n, "Received: from client.test (", 28);
    assert_memory_equal(whole.p + whole.n - m, rest, m);
    assert_memory_equal(whole.p + whole.n - m - 2, "\r\n", 2);
    if (n < MESSAGE_ROOM / 2) assert_ptr_equal(whole.p + whole.n, body);
}

static void fields_are_added_and_dropped(void **state) {
    static const struct {
        const char *text, *on_top, *drop, *rest;
    } cases[] = {
        {"A: 1\r\nB: 2\r\n\r\nbody\r\n", "", "none", "A: 1\r\nB: 2\r\n\r\nbody\r\n"},
        {"A: 1\r\nB: 2\r\n\r\nbody\r\n", "X: y\r\n", "A", "B: 2\r\n\r\nbody\r\n"},
        {"A: 1\r\n 1\r\nB: 2\r\na: 3\r\n\r\n", "X: y\r\n", "A", "B: 2\r\n\r\n"},
        {"A: 1\r\n\r\nbody", "", "A", "\r\nbody"},
        {"\r\nbody", "X: y\r\n", "A", "\r\nbody"},
        {"A: 1\r\nB: no empty line", "", "A", "B: no empty line"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct session *s = begin(cases[i].text);
        message_put_on_top(&s->t, slice_of(cases[i].on_top));
        message_drop_fields(&s->t, cases[i].drop);
        assert_finished(s, cases[i].on_top, cases[i].rest);
        finish(s);
    }
}

static void what_is_added_last_is_on_top(void **state) {
    struct session *s = begin("A: 1\r\n\r\n");
    (void)state;
    message_put_on_top(&s->t, SLICE("X: 1\r\n"));
    message_put_on_top(&s->t, SLICE("Y: 2\r\n"));
    assert_finished(s, "Y: 2\r\nX: 1\r\n", "A: 1\r\n\r\n");
    finish(s);
}

/* A range that overlaps another, or lies beyond the header, is not dropped. */
static void ranges_of_the_verifier_are_not_trusted(void **state) {
    struct session *s = begin("A: 1\r\nB: 2\r\n\r\nbody");
    (void)state;
    message_drop(&s->t, 6, 6);
    message_drop(&s->t, 8, 2);
    message_drop(&s->t, 10, 100);
    message_drop(&s->t, SIZE_MAX, 6);
    assert_finished(s, "", "A: 1\r\n\r\nbody");
    finish(s);
}

static void more_fields_than_there_is_room_for(void **state) {
    struct session *s = begin("A: 1\r\n\r\nbody");
    struct buf fields = {0};
    (void)state;
    for (int i = 0; i < 3000; i++) buf_printf(&fields, "X-%d: filler\r\n", i);
    message_put_on_top(&s->t, buf_slice(&fields));
    assert_finished(s, buf_str(&fields), "A: 1\r\n\r\nbody");
    buf_free(&fields);
    finish(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_added_and_dropped), cmocka_unit_test(what_is_added_last_is_on_top),
        cmocka_unit_test(ranges_of_the_verifier_are_not_trusted), cmocka_unit_test(more_fields_than_there_is_room_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
