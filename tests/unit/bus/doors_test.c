/* The doors of the bus against a real nats-server: what goes in as text comes out as json_t and the
 * other way round, errors are told from answers, and a wake is heard without a payload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/thread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/base/cost.h"
#include "libcommon/bus/bus.h"

enum { PATIENCE_TURNS = 5000 }; /* of a millisecond */

struct site {
    pid_t server;
    struct event_base *base;
    struct bus *asks, *serves;
    /* what came */
    int answers, events, raws, wakes;
    int error;
    char text[256], about[64];
    struct event *second;
};

static int free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void turn_until(struct site *s, bool (*there)(const struct site *s)) {
    for (int i = 0; i < PATIENCE_TURNS && !there(s); i++) {
        event_base_loop(s->base, EVLOOP_NONBLOCK);
        usleep(1000);
    }
    assert_true(there(s));
}

static bool both_ready(const struct site *s) { return bus_is_ready(s->asks) && bus_is_ready(s->serves); }
static bool answered(const struct site *s) { return s->answers > 0; }
static bool answered_twice(const struct site *s) { return s->answers == 2; }
static bool heard_all(const struct site *s) { return s->events == 2 && s->raws == 2 && s->wakes == 1; }

static void keep(struct site *s, struct slice text) { snprintf(s->text, sizeof s->text, "%.*s", SLICE_FMT(text)); }

/* Stands before the C library's, so that the test sees each write of the bus's library to its
 * socket. */
static int writes;
ssize_t send(int fd, const void *bytes, size_t n, int flags) {
    writes++;
    return sendto(fd, bytes, n, flags, NULL, 0);
}

/* The verbs of the service */

static void echo_text(void *ctx, struct bus_call *call, struct slice ask) {
    (void)ctx;
    if (slice_starts(ask, SLICE("{\"refuse\"")))
        bus_refuse(call, "not_found", "there is no \"such\" thing");
    else if (slice_starts(ask, SLICE("{\"later\"")))
        bus_refuse(call, "busy", "ask later");
    else
        bus_answer_text(call, ask);
}

static void echo_json(void *ctx, struct bus_call *call, const json_t *ask) {
    (void)ctx;
    bus_answer(call, json_pack("{s:O}", "asked", ask));
}

/* The answers */

static void on_text(void *ctx, int error, struct slice reply) {
    struct site *s = ctx;
    s->answers++;
    s->error = error;
    keep(s, reply);
}

static void on_json(void *ctx, int error, const json_t *reply) {
    struct site *s = ctx;
    char *text = json_dumps(reply, JSON_COMPACT);
    s->answers++;
    s->error = error;
    keep(s, slice_of(text));
    free(text);
}

static int start(void **state) {
    struct site *s = calloc(1, sizeof *s);
    char port[16], url[64];
    snprintf(port, sizeof port, "%d", free_port());
    snprintf(url, sizeof url, "nats://127.0.0.1:%s", port);
    s->server = fork();
    if (s->server == 0) {
        execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "-l", "/dev/null", (char *)NULL);
        _exit(127);
    }
    s->base = event_base_new();
    s->serves = bus_create(s->base, url, "echo", NULL, NULL);
    bus_serve_text(s->serves, "text", echo_text, s);
    bus_serve(s->serves, "json", echo_json, s);
    s->asks = bus_create(s->base, url, "asker", NULL, NULL);
    turn_until(s, both_ready);
    /* the subscriptions are at the server once an answer has come */
    for (int i = 0; i < 100 && (s->answers == 0 || s->error); i++) {
        s->answers = 0;
        bus_request_text(s->asks, "echo.json", SLICE("{}"), 1000, on_text, s);
        turn_until(s, answered);
    }
    *state = s;
    return s->error;
}

static int stop(void **state) {
    struct site *s = *state;
    bus_destroy(s->asks);
    bus_destroy(s->serves);
    event_base_free(s->base);
    kill(s->server, SIGTERM);
    waitpid(s->server, NULL, 0);
    free(s);
    return 0;
}

static void ask_text(struct site *s, const char *verb, const char *ask) {
    s->answers = 0;
    bus_request_text(s->asks, verb, slice_of(ask), 2000, on_text, s);
    assert_int_equal(s->answers, 0); /* never before it returns */
    turn_until(s, answered);
    assert_int_equal(s->answers, 1);
}

static void ask_json(struct site *s, const char *verb, const char *ask) {
    s->answers = 0;
    bus_request(s->asks, verb, json_loads(ask, 0, NULL), 2000, on_json, s);
    turn_until(s, answered);
    assert_int_equal(s->answers, 1);
}

static void text_and_json_doors_speak_the_same_messages(void **state) {
    struct site *s = *state;
    ask_text(s, "echo.text", "{\"a\":1}");
    assert_int_equal(s->error, BUS_OK);
    assert_string_equal(s->text, "{\"a\":1}");
    ask_text(s, "echo.json", "{\"a\":1}");
    assert_int_equal(s->error, BUS_OK);
    assert_string_equal(s->text, "{\"asked\":{\"a\":1}}");
    ask_json(s, "echo.text", "{\"a\":1}");
    assert_int_equal(s->error, BUS_OK);
    assert_string_equal(s->text, "{\"a\":1}");
}

static void refusals_are_told_from_answers(void **state) {
    struct site *s = *state;
    char code[BUS_CODE_BYTES];
    ask_text(s, "echo.text", "{\"refuse\":1}");
    assert_int_equal(s->error, BUS_REFUSED);
    assert_string_equal(bus_error_code_text(slice_of(s->text), code), "not_found");
    assert_non_null(strstr(s->text, "no \\\"such\\\" thing"));
    ask_text(s, "echo.text", "{\"later\":1}");
    assert_int_equal(s->error, BUS_UNAVAILABLE);
    ask_json(s, "echo.text", "{\"refuse\":1}");
    assert_int_equal(s->error, BUS_REFUSED);
    ask_text(s, "echo.text", "{\"errors\":[]}"); /* an answer that only looks like one */
    assert_int_equal(s->error, BUS_OK);
    ask_text(s, "echo.text", "");
    assert_int_equal(s->error, BUS_UNAVAILABLE);
    ask_text(s, "echo.nobody", "{}");
    assert_int_equal(s->error, BUS_UNAVAILABLE);
    assert_string_equal(s->text, "");
    ask_json(s, "echo.json", "[]");
    assert_int_equal(s->error, BUS_REFUSED);
}

static void on_event(void *ctx, struct slice about, const json_t *data) {
    struct site *s = ctx;
    s->events++;
    snprintf(s->about, sizeof s->about, "%.*s", SLICE_FMT(about));
    assert_int_equal(json_integer_value(json_object_get(data, "n")), 7);
}

static void on_raw(void *ctx, struct slice about, struct slice bytes) {
    struct site *s = ctx;
    json_t *event = json_loadb(bytes.p, bytes.n, 0, NULL);
    s->raws++;
    assert_true(slice_is(about, "one") || slice_is(about, "two"));
    assert_string_equal(json_string_value(json_object_get(event, "type")), "postbus.thing.happened");
    assert_string_equal(json_string_value(json_object_get(event, "source")) + 1, "asker/localhost");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(event, "data"), "n")), 7);
    json_decref(event);
}

static void on_wake(void *ctx, struct slice about, struct slice bytes) {
    struct site *s = ctx;
    s->wakes++;
    assert_true(slice_is(about, "13"));
    assert_int_equal(bytes.n, 0);
}

static void events_are_heard_at_both_doors(void **state) {
    struct site *s = *state;
    bus_hear(s->serves, "thing.happened.*", true, on_event, s);
    bus_hear_raw(s->serves, "queue.due.*", true, on_wake, s);
    struct bus_subscription *raw = bus_subscribe_raw(s->serves, "thing.happened.*", on_raw, s);
    ask_text(s, "echo.text", "{}"); /* the connection of `serves` has written its subscriptions
                                       before its answer */
    bus_publish(s->asks, "thing.happened", SLICE("one"), json_pack("{s:i}", "n", 7));
    bus_publish_text(s->asks, "thing.happened", SLICE("two"), SLICE("{\"n\":7}"));
    bus_wake(s->asks, "queue.due.13");
    turn_until(s, heard_all);
    assert_string_equal(s->about, "two");
    bus_unsubscribe(raw);
}

/* One turn of the loop: what its callbacks publish, and what the callbacks publish that they wake,
 * leaves together. */

static void on_second(evutil_socket_t fd, short what, void *ctx) {
    struct site *s = ctx;
    (void)fd, (void)what;
    bus_publish_text(s->asks, "thing.done", SLICE("b"), SLICE("{}"));
}

static void on_first(evutil_socket_t fd, short what, void *ctx) {
    struct site *s = ctx;
    (void)fd, (void)what;
    for (int i = 0; i < 3; i++) bus_publish_text(s->asks, "thing.done", SLICE("a"), SLICE("{}"));
    bus_request_text(s->asks, "echo.text", SLICE("{}"), 1000, on_text, s);
    event_active(s->second, EV_TIMEOUT, 0);
}

static void a_turn_of_the_loop_leaves_in_one_write(void **state) {
    struct site *s = *state;
    struct event *first = event_new(s->base, -1, 0, on_first, s), *beside = event_new(s->base, -1, 0, on_first, s);
    s->second = event_new(s->base, -1, 0, on_second, s);
    ask_text(s, "echo.text", "{}"); /* nothing is left to write */
    s->answers = writes = 0;
    int64_t sent = cost_value(COST_BUS_SENT), asked = cost_value(COST_BUS_REQUESTS);
    event_active(first, EV_TIMEOUT, 0);
    event_active(beside, EV_TIMEOUT, 0);
    event_base_loop(s->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    assert_int_equal(cost_value(COST_BUS_SENT) - sent, 9);
    assert_int_equal(cost_value(COST_BUS_REQUESTS) - asked, 2);
    assert_int_equal(writes, 1);
    turn_until(s, answered_twice);
    event_free(first);
    event_free(beside);
    event_free(s->second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_json_doors_speak_the_same_messages),
        cmocka_unit_test(refusals_are_told_from_answers),
        cmocka_unit_test(events_are_heard_at_both_doors),
        cmocka_unit_test(a_turn_of_the_loop_leaves_in_one_write),
    };
    evthread_use_pthreads();
    return cmocka_run_group_tests(tests, start, stop);
}
