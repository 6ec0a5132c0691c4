/* The stream under every line protocol: lines, bounds, TLS in the middle, closing, time. Two ends
 * of a socket pair on one loop. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/thread.h>
#include <openssl/x509.h>

#include "libcommon/base/clock.h"
#include "libcommon/net/stream.h"

struct end {
    struct stream *s;
    struct event_base *base;
    int events[STREAM_TIMEOUT + 1];
    struct buf lines; /* each line taken, with '|' behind; '!' for one that was too long */
    bool take, destroy_on_line;
    SSL_CTX *tls_after_starttls;
};

static void on_event(void *ctx, struct stream *s, enum stream_event event) {
    struct end *e = ctx;
    struct slice line;
    int got;
    e->events[event]++;
    if (event != STREAM_READABLE || !e->take) return;
    while ((got = stream_line(s, 16, &line)) != 0) {
        if (got < 0) {
            buf_add_char(&e->lines, '!');
            continue;
        }
        buf_add_slice(&e->lines, line);
        buf_add_char(&e->lines, '|');
        if (e->destroy_on_line) {
            stream_destroy(s);
            e->s = NULL;
            return;
        }
        if (e->tls_after_starttls && slice_is(line, "STARTTLS")) {
            stream_cork(s);
            stream_write(s, SLICE("220 go\r\n"));
            stream_start_tls(s, SSL_new(e->tls_after_starttls), true);
            stream_uncork(s);
            return;
        }
    }
}

static void turn(struct event_base *base, int ms) {
    struct timeval wait = {ms / 1000, (ms % 1000) * 1000};
    event_base_loopexit(base, &wait);
    event_base_dispatch(base);
}

/* Runs the loop until the condition holds, for at most ten seconds. */
#define TURN_UNTIL(base, condition)                                                                                    \
    for (int64_t end_us = clock_monotonic_us() + 10 * 1000000; !(condition) && clock_monotonic_us() < end_us;)         \
    turn(base, 1)

static int open_end(struct end *e, struct event_base *base) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    e->base = base;
    e->take = true;
    e->s = stream_accept(base, fds[0], NULL, on_event, e);
    return fds[1];
}

static void lines_end_with_crlf_and_nothing_else(void **state) {
    static const struct {
        const char *sent, *lines;
    } cases[] = {
        {"a\r\nb\r\n", "a|b|"},
        {"a\nb\r\n", "a\nb|"},                                /* a bare LF is part of the line */
        {"a\rb\r\n", "a\rb|"},                                /* so is a bare CR */
        {"a\r\r\n", "a\r|"},                                  /* the last CR belongs to CRLF */
        {"\r\n\r\n", "||"},                                   /* empty lines */
        {"0123456789abcdef\r\nx\r\n", "0123456789abcdef|x|"}, /* exactly the bound */
        {"0123456789abcdefg\r\nx\r\n", "!x|"},                /* one over it: told once, then it
                                                                 goes on */
        {"tail", ""},                                         /* not whole yet */
    };
    struct event_base *base = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t piece = 1; piece < 9; piece += 7) { /* byte by byte, and in larger pieces */
            struct end e = {0};
            int peer = open_end(&e, base);
            for (const char *p = cases[i].sent; *p;) {
                size_t n = strlen(p) < piece ? strlen(p) : piece;
                assert_int_equal(write(peer, p, n), (ssize_t)n);
                p += n;
                event_base_loop(base, EVLOOP_NONBLOCK);
                event_base_loop(base, EVLOOP_NONBLOCK);
            }
            assert_string_equal(buf_str(&e.lines), cases[i].lines);
            stream_destroy(e.s);
            buf_free(&e.lines);
            close(peer);
        }
    }
}

static void an_endless_line_takes_no_memory_and_is_told_once(void **state) {
    struct event_base *base = *state;
    struct end e = {0};
    char flood[4096];
    int peer = open_end(&e, base);
    memset(flood, 'x', sizeof flood);
    for (int i = 0; i < 200; i++) {
        ssize_t n = write(peer, flood, sizeof flood);
        assert_true(n > 0);
        event_base_loop(base, EVLOOP_NONBLOCK);
        event_base_loop(base, EVLOOP_NONBLOCK);
        assert_true(stream_pending_input(e.s) < 64 * 1024);
    }
    assert_int_equal(write(peer, "\r\nok\r\n", 6), 6);
    TURN_UNTIL(base, slice_is(buf_slice(&e.lines), "!ok|"));
    assert_string_equal(buf_str(&e.lines), "!ok|");
    stream_destroy(e.s);
    buf_free(&e.lines);
    close(peer);
}

static void a_stream_may_be_destroyed_in_its_own_callback(void **state) {
    struct event_base *base = *state;
    struct end e = {.destroy_on_line = true};
    int peer = open_end(&e, base);
    assert_int_equal(write(peer, "a\r\nb\r\n", 6), 6);
    TURN_UNTIL(base, !e.s);
    turn(base, 20); /* nothing more comes */
    assert_string_equal(buf_str(&e.lines), "a|");
    buf_free(&e.lines);
    close(peer);
}

static void closing_and_silence_are_told(void **state) {
    struct event_base *base = *state;
    struct end e = {0};
    int peer = open_end(&e, base);
    stream_set_timeout(e.s, 30);
    TURN_UNTIL(base, e.events[STREAM_TIMEOUT]);
    assert_true(e.events[STREAM_TIMEOUT] >= 1);
    close(peer);
    TURN_UNTIL(base, e.events[STREAM_CLOSED]);
    assert_int_equal(e.events[STREAM_CLOSED], 1);
    assert_string_equal(stream_error(e.s), "closed by peer");
    stream_destroy(e.s);
}

static void a_paused_stream_reads_nothing_and_goes_on_where_it_was(void **state) {
    struct event_base *base = *state;
    struct end e = {0};
    int peer = open_end(&e, base);
    stream_pause(e.s);
    assert_int_equal(write(peer, "a\r\n", 3), 3);
    turn(base, 20);
    assert_string_equal(buf_str(&e.lines), "");
    stream_resume(e.s);
    TURN_UNTIL(base, e.lines.n);
    assert_string_equal(buf_str(&e.lines), "a|");
    stream_destroy(e.s);
    buf_free(&e.lines);
    close(peer);
}

static void finishing_sends_what_is_left(void **state) {
    struct event_base *base = *state;
    struct end e = {0};
    char got[64] = {0};
    int peer = open_end(&e, base);
    stream_write(e.s, SLICE("221 bye\r\n"));
    stream_finish(e.s);
    ssize_t n = -1; /* the socket does not block */
    TURN_UNTIL(base, (n = read(peer, got, sizeof got)) >= 0);
    assert_int_equal(n, 9);
    n = -1;
    TURN_UNTIL(base, (n = read(peer, got, sizeof got)) >= 0);
    assert_int_equal(n, 0); /* and it is closed */
    close(peer);
}

static void gathered_output_is_sent_at_the_end_without_the_loop(void **state) {
    struct event_base *base = *state;
    struct end e = {0};
    char got[64];
    int peer = open_end(&e, base);
    stream_cork(e.s);
    stream_write(e.s, SLICE("250 one\r\n"));
    stream_write(e.s, SLICE("354 two\r\n"));
    turn(base, 20);
    assert_int_equal(read(peer, got, sizeof got), -1);
    stream_uncork(e.s);
    assert_int_equal(read(peer, got, sizeof got), 18);
    assert_int_equal(stream_pending_output(e.s), 0);
    turn(base, 20);
    assert_int_equal(e.events[STREAM_DRAINED], 0); /* otherwise a session that is woken by it would never rest */
    stream_write(e.s, SLICE("221\r\n"));           /* the loop writes again */
    ssize_t n = -1;
    TURN_UNTIL(base, (n = read(peer, got, sizeof got)) >= 0);
    assert_int_equal(n, 5);
    stream_destroy(e.s);
    close(peer);
}

static size_t read_all(int fd) {
    static char got[65536];
    size_t all = 0;
    for (ssize_t n; (n = read(fd, got, sizeof got)) > 0;) all += (size_t)n;
    return all;
}

static void what_the_socket_does_not_take_is_sent_by_the_loop(void **state) {
    enum { BYTES = 4 * 1024 * 1024 };
    struct event_base *base = *state;
    struct end e = {0};
    char *much = calloc(1, BYTES);
    int peer = open_end(&e, base);
    size_t all = 0;
    stream_cork(e.s);
    stream_write(e.s, slice_make(much, BYTES));
    stream_uncork(e.s);
    assert_true(stream_pending_output(e.s) > 0);
    stream_cork(e.s); /* older output is not held back */
    TURN_UNTIL(base, (all += read_all(peer)) == BYTES);
    assert_int_equal(all, BYTES);
    TURN_UNTIL(base, e.events[STREAM_DRAINED]);
    assert_int_equal(e.events[STREAM_DRAINED], 1);
    stream_uncork(e.s);
    close(peer);
    stream_cork(e.s);
    stream_write(e.s, SLICE("to nobody\r\n"));
    stream_uncork(e.s); /* the error is told from the loop */
    TURN_UNTIL(base, e.events[STREAM_CLOSED]);
    assert_int_equal(e.events[STREAM_CLOSED], 1);
    stream_destroy(e.s);
    free(much);
}

/* A key and a self-made certificate for the test, in memory. */
static SSL_CTX *test_context(void) {
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1,
                               0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_sign(x, key, EVP_sha256());
    SSL_CTX_use_certificate(c, x);
    SSL_CTX_use_PrivateKey(c, key);
    X509_free(x);
    EVP_PKEY_free(key);
    return c;
}

static void tls_starts_in_the_middle_and_what_was_sent_before_is_thrown_away(void **state) {
    struct event_base *base = *state;
    SSL_CTX *server_tls = test_context(), *client_tls = SSL_CTX_new(TLS_client_method());
    struct end server = {.tls_after_starttls = server_tls}, client = {0};
    int fd = open_end(&server, base);
    client.take = false;
    client.s = stream_accept(base, fd, NULL, on_event, &client);
    stream_write(client.s, SLICE("STARTTLS\r\nINJECTED\r\n")); /* RFC 3207 §4.2 */
    struct slice line;
    int got = 0;
    TURN_UNTIL(base, (got = stream_line(client.s, 100, &line)) != 0);
    assert_int_equal(got, 1);
    assert_true(slice_is(line, "220 go"));
    client.take = true;
    stream_start_tls(client.s, SSL_new(client_tls), false);
    TURN_UNTIL(base, server.events[STREAM_TLS_READY] && client.events[STREAM_TLS_READY]);
    assert_int_equal(server.events[STREAM_TLS_READY], 1);
    assert_int_equal(client.events[STREAM_TLS_READY], 1);
    assert_true(stream_had_pipelined_before_tls(server.s));
    assert_string_equal(stream_tls_version(server.s), "TLSv1.3");
    stream_write(client.s, SLICE("secret\r\n"));
    TURN_UNTIL(base, slice_is(buf_slice(&server.lines), "STARTTLS|secret|"));
    assert_string_equal(buf_str(&server.lines), "STARTTLS|secret|");
    stream_write(server.s, SLICE("answer\r\n"));
    stream_finish(server.s);
    TURN_UNTIL(base, client.events[STREAM_CLOSED]);
    assert_string_equal(buf_str(&client.lines), "answer|");
    assert_int_equal(client.events[STREAM_CLOSED], 1);
    stream_destroy(client.s);
    buf_free(&client.lines);
    buf_free(&server.lines);
    SSL_CTX_free(server_tls);
    SSL_CTX_free(client_tls);
}

static void garbage_instead_of_a_handshake_is_an_error_in_words(void **state) {
    struct event_base *base = *state;
    SSL_CTX *tls = test_context();
    struct end e = {0};
    int peer = open_end(&e, base);
    stream_start_tls(e.s, SSL_new(tls), true);
    assert_int_equal(write(peer, "EHLO x\r\n", 8), 8);
    TURN_UNTIL(base, e.events[STREAM_CLOSED]);
    assert_int_equal(e.events[STREAM_CLOSED], 1);
    assert_int_equal(strncmp(stream_error(e.s), "TLS: ", 5), 0);
    stream_destroy(e.s);
    close(peer);
    SSL_CTX_free(tls);
}

static void a_refused_connection_is_told_from_the_loop(void **state) {
    struct event_base *base = *state;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct end e = {.base = base};
    e.s = stream_connect(base, (struct sockaddr *)&to, sizeof to, NULL, 0, 1000, on_event, &e);
    assert_int_equal(e.events[STREAM_CLOSED], 0);
    TURN_UNTIL(base, e.events[STREAM_CLOSED]);
    assert_int_equal(e.events[STREAM_CLOSED], 1);
    assert_int_equal(e.events[STREAM_CONNECTED], 0);
    assert_string_equal(stream_error(e.s), "Connection refused");
    stream_destroy(e.s);
}

static int set_up(void **state) {
    evthread_use_pthreads();
    signal(SIGPIPE, SIG_IGN); /* as every service does */
    *state = event_base_new();
    return 0;
}

static int tear_down(void **state) {
    event_base_loop(*state, EVLOOP_NONBLOCK);
    event_base_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_with_crlf_and_nothing_else),
        cmocka_unit_test(an_endless_line_takes_no_memory_and_is_told_once),
        cmocka_unit_test(a_stream_may_be_destroyed_in_its_own_callback),
        cmocka_unit_test(closing_and_silence_are_told),
        cmocka_unit_test(a_paused_stream_reads_nothing_and_goes_on_where_it_was),
        cmocka_unit_test(finishing_sends_what_is_left),
        cmocka_unit_test(gathered_output_is_sent_at_the_end_without_the_loop),
        cmocka_unit_test(what_the_socket_does_not_take_is_sent_by_the_loop),
        cmocka_unit_test(tls_starts_in_the_middle_and_what_was_sent_before_is_thrown_away),
        cmocka_unit_test(garbage_instead_of_a_handshake_is_an_error_in_words),
        cmocka_unit_test(a_refused_connection_is_told_from_the_loop),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
