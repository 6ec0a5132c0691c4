#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "libcommon/base/clock.h"
#include "tests/bench/drive/drive.h"

static _Atomic int messages, connections;
static _Atomic int64_t last_us;

static int take_message(struct connection *c) {
    struct slice line;
    do {
        if (connection_line(c, &line)) return -1;
    } while (!slice_is(line, "."));
    last_us = clock_monotonic_us();
    messages++;
    return 0;
}

static void *talk(void *ctx) {
    struct connection *c = ctx;
    struct slice line;
    connections++;
    connection_write(c, SLICE("220 mx.remote.test ESMTP\r\n"));
    while (!connection_line(c, &line)) {
        struct slice answer = SLICE("250 2.0.0 ok\r\n");
        if (slice_starts_nocase(line, SLICE("EHLO"))) {
            answer = SLICE("250-mx.remote.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 104857600\r\n");
        } else if (slice_is_nocase(line, "DATA")) {
            if (connection_write(c, SLICE("354 go\r\n")) || take_message(c)) break;
        } else if (slice_is_nocase(line, "QUIT")) {
            connection_write(c, SLICE("221 2.0.0 bye\r\n"));
            break;
        }
        if (connection_write(c, answer)) break;
    }
    connection_close(c);
    return NULL;
}

static void *accept_all(void *ctx) {
    int listener = (int)(intptr_t)ctx;
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && !pthread_create(&thread, NULL, talk, connection_adopt(fd))) pthread_detach(thread);
    }
    return NULL;
}

void sink_start(const struct sockaddr_in *at) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    pthread_t thread;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (const struct sockaddr *)at, sizeof *at) || listen(listener, SOMAXCONN))
        drive_fail("the sink cannot listen at its address");
    pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listener);
    pthread_detach(thread);
}

struct sink_count sink_count(void) { return (struct sink_count){messages, connections, last_us}; }
