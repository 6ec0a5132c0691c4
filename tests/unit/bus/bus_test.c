/* The bus while NATS is away: every request ends, from the loop, and none that was cancelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <event2/thread.h>

#include "libcommon/bus/bus.h"

struct two {
    struct bus *bus;
    uint64_t second;
    int first_told, second_told;
};

static void on_first(void *ctx, int error, const json_t *reply) {
    struct two *t = ctx;
    assert_int_equal(error, BUS_UNAVAILABLE);
    assert_null(reply);
    t->first_told++;
    bus_cancel(t->bus, t->second);
}

static void on_second(void *ctx, int error, const json_t *reply) {
    struct two *t = ctx;
    (void)error, (void)reply;
    t->second_told++;
}

static void a_refused_request_can_be_cancelled_by_the_callback_of_another(void **state) {
    (void)state;
    evthread_use_pthreads();
    struct event_base *base = event_base_new();
    struct two t = {.bus = bus_create(base, "nats://127.0.0.1:1", "test", NULL, NULL)};
    bus_request(t.bus, "nobody.asks", json_object(), 1000, on_first, &t);
    t.second = bus_request(t.bus, "nobody.asks", json_object(), 1000, on_second, &t);
    assert_int_equal(t.first_told, 0); /* never before bus_request returns */
    for (int i = 0; i < 5; i++) event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(t.first_told, 1);
    assert_int_equal(t.second_told, 0);
    bus_destroy(t.bus);
    event_base_free(base);
}

/* As a worker ends: the store is taken down between the two, and its callbacks publish, wake and
 * ask once more. */
static void a_closed_bus_drops_what_it_is_given(void **state) {
    (void)state;
    evthread_use_pthreads();
    struct event_base *base = event_base_new();
    struct two t = {.bus = bus_create(base, "nats://127.0.0.1:1", "test", NULL, NULL)};
    t.second = bus_request(t.bus, "nobody.asks", json_object(), 1000, on_second, &t);
    bus_close(t.bus);
    assert_int_equal(t.second_told, 1);
    bus_wake(t.bus, "queue.due.1");
    bus_publish(t.bus, "mail.sent", SLICE("01ARZ3NDEKTSV4RRFFQ69G5FAV"), json_object());
    for (int i = 0; i < 5; i++) event_base_loop(base, EVLOOP_NONBLOCK);
    bus_destroy(t.bus);
    event_base_free(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_request_can_be_cancelled_by_the_callback_of_another),
        cmocka_unit_test(a_closed_bus_drops_what_it_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
