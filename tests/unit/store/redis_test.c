/* The connection to Redis: a name server that does not answer stops nobody, and a slow answer costs
 * only those who have waited too long. */
#include "tests/unit/store/ground.h"

#include <netdb.h>
#include <stdatomic.h>

#include "libcommon/base/arena.h"

/* Stands in for the C library's: names ending in ".dead" take two seconds to fail, "store.test" is
 * this machine. */
static _Atomic int looked_up;
int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict list) {
    struct addrinfo *a = memory_alloc(sizeof *a + sizeof(struct sockaddr_in));
    struct sockaddr_in *address = (struct sockaddr_in *)(a + 1);
    size_t n = name ? strlen(name) : 0;
    if (hints && hints->ai_socktype) looked_up++;
    if (n > 5 && strcmp(name + n - 5, ".dead") == 0) {
        free(a);
        sleep(2);
        return EAI_AGAIN;
    }
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)(service ? atoi(service) : 0));
    if (!name || inet_pton(AF_INET, name, &address->sin_addr) != 1) address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *a = (struct addrinfo){.ai_family = AF_INET,
                           .ai_socktype = SOCK_STREAM,
                           .ai_addrlen = sizeof *address,
                           .ai_addr = (struct sockaddr *)address};
    *list = a;
    return 0;
}
void freeaddrinfo(struct addrinfo *list) { free(list); }

static int ticks;
static void on_tick(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what, (void)ctx;
    ticks++;
}

static void a_dead_name_server_does_not_stop_the_loop(void **state) {
    (void)state;
    struct timeval every = {0, 20000};
    struct event *clock = event_new(ground.base, -1, EV_PERSIST, on_tick, NULL);
    event_add(clock, &every);
    ticks = 0;
    struct redis *r = redis_create(ground.base, "store.dead:6379", NULL, NULL);
    struct slice ping = SLICE("PING");
    answered = false;
    redis_command(r, on_ground_reply, NULL, 1, &ping);
    ground_run(1000);
    assert_true(answered);
    assert_int_equal(answer, STORE_UNAVAILABLE);
    assert_true(ticks >= 25); /* of 50: a loop that waits for the name has none */
    assert_false(redis_is_ready(r));
    redis_destroy(r); /* while the thread still waits for the name */
    event_free(clock);
    ground_run(1500);
}

static void a_name_is_looked_up_again_for_each_connection(void **state) {
    char address[32];
    (void)state;
    snprintf(address, sizeof address, "store.test:%d", ground.port);
    struct redis *r = redis_create(ground.base, address, NULL, NULL);
    while (!redis_is_ready(r)) event_base_loop(ground.base, EVLOOP_ONCE);
    int before = looked_up;
    ground_redis("CLIENT KILL TYPE normal SKIPME yes");
    while (redis_is_ready(r)) event_base_loop(ground.base, EVLOOP_ONCE);
    while (!redis_is_ready(r)) event_base_loop(ground.base, EVLOOP_ONCE);
    assert_true(looked_up > before);
    redis_destroy(r);
}

static void a_command_may_have_any_number_of_arguments(void **state) {
    enum { WORDS = 20001 };
    static struct slice words[WORDS];
    (void)state;
    words[0] = SLICE("RPUSH");
    words[1] = SLICE("long");
    for (size_t i = 2; i < WORDS; i++) words[i] = SLICE("x");
    answered = false;
    redis_command(ground.redis, on_ground_reply, NULL, WORDS, words);
    ground_wait();
    assert_string_equal(ground_text, "19999");
}

struct one {
    int said, error; /* how often, and what the last time */
    int64_t at_us;
};
static void on_one(void *ctx, const redisReply *reply) {
    struct one *o = ctx;
    o->said++;
    o->error = redis_reply_error(reply);
    o->at_us = clock_monotonic_us();
}

static void ask(struct one *o) {
    struct slice ping = SLICE("PING");
    redis_command(ground.redis, on_one, o, 1, &ping);
}

/* Redis stands still for 14 s: who has waited for 10 s is told so; who came later gets the
 * answer. */
static void a_slow_answer_costs_only_those_who_waited_too_long(void **state) {
    struct one early = {0}, middle = {0}, refused = {0}, after = {0};
    char connection[32];
    (void)state;
    snprintf(connection, sizeof connection, "%s", ground_redis("CLIENT ID"));
    kill(ground.server, SIGSTOP);
    int64_t start = clock_monotonic_us();
    ask(&early);
    ground_run(6000);
    ask(&middle);
    ground_run(6000);
    assert_true(early.said == 1 && early.error == STORE_UNAVAILABLE);
    assert_true(early.at_us - start > 9 * 1000000 && early.at_us - start < 12 * 1000000);
    assert_int_equal(middle.said, 0);
    assert_false(redis_is_ready(ground.redis));
    ask(&refused);
    assert_int_equal(refused.said, 0); /* never before redis_command returns */
    ground_run(200);
    assert_true(refused.said == 1 && refused.error == STORE_UNAVAILABLE);
    kill(ground.server, SIGCONT);
    ground_run(500);
    assert_true(middle.said == 1 && middle.error == 0);
    assert_int_equal(early.said, 1); /* its late answer is nobody's */
    assert_true(redis_is_ready(ground.redis));
    ask(&after);
    ground_run(200);
    assert_true(after.said == 1 && after.error == 0);
    assert_string_equal(ground_redis("CLIENT ID"), connection);
}

/* Nothing at all for 30 s: the connection is given up, and made again once Redis is back. */
static void a_connection_that_stays_silent_is_given_up(void **state) {
    char connection[32];
    (void)state;
    snprintf(connection, sizeof connection, "%s", ground_redis("CLIENT ID"));
    struct one lost = {0};
    kill(ground.server, SIGSTOP);
    ask(&lost);
    ground_run(32000);
    assert_true(lost.said == 1 && lost.error == STORE_UNAVAILABLE);
    kill(ground.server, SIGCONT);
    ground_run(3000);
    assert_true(redis_is_ready(ground.redis));
    assert_string_not_equal(ground_redis("CLIENT ID"), connection);
}

static void a_lost_connection_is_told_to_all_who_wait(void **state) {
    struct one all[3] = {{0}};
    struct slice kill_all[] = {SLICE("CLIENT"), SLICE("KILL"),   SLICE("TYPE"),
                               SLICE("normal"), SLICE("SKIPME"), SLICE("no")};
    (void)state;
    struct slice block[] = {SLICE("BLPOP"), SLICE("nothing"), SLICE("60")};
    redis_command(ground.redis, on_one, &all[0], 3, block);
    ask(&all[1]);
    ground_run(100);
    assert_true(all[0].said == 0 && all[1].said == 0);
    struct redis *other = redis_create(ground.base, ground.address, NULL, NULL);
    while (!redis_is_ready(other)) event_base_loop(ground.base, EVLOOP_ONCE);
    redis_command(other, NULL, NULL, 6, kill_all);
    while (redis_is_ready(ground.redis)) event_base_loop(ground.base, EVLOOP_ONCE);
    ask(&all[2]); /* refused at once */
    ground_run(50);
    for (size_t i = 0; i < 3; i++) assert_true(all[i].said == 1 && all[i].error == STORE_UNAVAILABLE);
    while (!redis_is_ready(ground.redis)) event_base_loop(ground.base, EVLOOP_ONCE);
    redis_destroy(other);
}

static int start(void **state) {
    (void)state;
    return ground_start(0, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_name_server_does_not_stop_the_loop),
        cmocka_unit_test(a_name_is_looked_up_again_for_each_connection),
        cmocka_unit_test(a_command_may_have_any_number_of_arguments),
        cmocka_unit_test(a_slow_answer_costs_only_those_who_waited_too_long),
        cmocka_unit_test(a_connection_that_stays_silent_is_given_up),
        cmocka_unit_test(a_lost_connection_is_told_to_all_who_wait),
    };
    return cmocka_run_group_tests(tests, start, ground_stop);
}
