/* A real redis-server with our Functions, started by a test on a port of its own; for the tests of
 * libcommon/store. */
#ifndef POSTBUS_TESTS_STORE_GROUND_H
#define POSTBUS_TESTS_STORE_GROUND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/ulid.h"
#include "libcommon/store/redis.h"

static struct {
    struct event_base *base;
    struct redis *redis;
    pid_t server;
    char directory[64], address[32];
    int port;
} ground;

/* What the last callback said. */
static bool answered;
static int answer;

static inline void ground_wait(void) {
    int64_t end = clock_monotonic_us() + 60 * 1000000;
    while (!answered && clock_monotonic_us() < end) event_base_loop(ground.base, EVLOOP_ONCE);
    assert_true(answered);
}

static inline void ground_run(int ms) {
    struct timeval time = {ms / 1000, (ms % 1000) * 1000};
    event_base_loopexit(ground.base, &time);
    event_base_dispatch(ground.base);
}

/* A done callback of every door. */
static inline void on_answer(void *ctx, int error) {
    (void)ctx;
    answer = error;
    answered = true;
}

static char ground_text[4096];

static inline void on_ground_reply(void *ctx, const redisReply *reply) {
    (void)ctx;
    struct slice s = redis_reply_slice(reply);
    if (reply && reply->type == REDIS_REPLY_INTEGER)
        snprintf(ground_text, sizeof ground_text, "%lld", reply->integer);
    else if (reply && reply->type == REDIS_REPLY_ARRAY)
        snprintf(ground_text, sizeof ground_text, "%zu", reply->elements);
    else
        snprintf(ground_text, sizeof ground_text, "%.*s", SLICE_FMT(s));
    on_answer(NULL, redis_reply_error(reply));
}

/* A command of words separated by spaces; its answer as text (of a list: how many elements). */
static inline const char *ground_redis(const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    struct slice words[32], rest = slice_of(line), word;
    size_t n = 0;
    while (slice_cut(&rest, ' ', &word)) words[n++] = word;
    words[n++] = rest;
    answered = false;
    redis_command(ground.redis, on_ground_reply, NULL, n, words);
    ground_wait();
    return ground_text;
}

static inline void ground_launch(void) {
    char port[16];
    snprintf(port, sizeof port, "%d", ground.port);
    ground.server = fork();
    if (ground.server == 0) {
        execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", ground.directory,
               "--save", "", "--appendonly", "no", "--logfile", "redis.log", (char *)NULL);
        _exit(127);
    }
}

static inline int ground_start(size_t count, const char *const libraries[]) {
    char command[256];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    log_init("test", "fatal");
    if (bind(fd, (struct sockaddr *)&any, n) || getsockname(fd, (struct sockaddr *)&any, &n)) return -1;
    close(fd);
    ground.port = ntohs(any.sin_port);
    snprintf(ground.directory, sizeof ground.directory, "/tmp/postbus-store-XXXXXX");
    if (!mkdtemp(ground.directory)) return -1;
    ground_launch();
    for (size_t i = 0; i < count; i++) {
        snprintf(command, sizeof command,
                 "for try in $(seq 100); do redis-cli -p %d -x FUNCTION LOAD REPLACE < libcommon/store/%s.lua "
                 "2>/dev/null | grep -q %s && exit 0; sleep 0.1; done; exit 1",
                 ground.port, libraries[i], libraries[i]);
        if (system(command) != 0) return -1;
    }
    snprintf(ground.address, sizeof ground.address, "127.0.0.1:%d", ground.port);
    ground.base = event_base_new();
    ground.redis = redis_create(ground.base, ground.address, NULL, NULL);
    while (!redis_is_ready(ground.redis)) event_base_loop(ground.base, EVLOOP_ONCE);
    return 0;
}

static inline int ground_stop(void **state) {
    char command[128];
    (void)state;
    redis_destroy(ground.redis);
    event_base_free(ground.base);
    kill(ground.server, SIGTERM);
    waitpid(ground.server, NULL, 0);
    snprintf(command, sizeof command, "rm -rf %s", ground.directory);
    return system(command) == 0 ? 0 : -1;
}

/* Fills Redis up to its maxmemory, and makes room again. */
static inline void ground_fill(void) {
    ground_redis("CONFIG SET maxmemory 1");
    assert_string_equal(ground_text, "OK");
}
static inline void ground_make_room(void) { ground_redis("CONFIG SET maxmemory 0"); }

#endif
