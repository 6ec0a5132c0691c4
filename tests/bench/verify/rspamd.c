/* Asks rspamd over HTTP (POST /checkv2), several connections at once. Its scanning worker closes
 * each after its answer, whatever is asked for; then the next is opened. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "tests/bench/verify/load.h"

struct client {
    struct load *load;
    struct bufferevent *connection;
    int port;
    bool asked; /* an answer is outstanding */
};

static void on_read(struct bufferevent *connection, void *ctx);
static void on_event(struct bufferevent *connection, short what, void *ctx);

static void open_connection(struct client *c) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)c->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (c->connection) bufferevent_free(c->connection);
    c->connection = bufferevent_socket_new(c->load->base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    bufferevent_setcb(c->connection, on_read, NULL, on_event, c);
    bufferevent_enable(c->connection, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(c->connection, (struct sockaddr *)&to, sizeof to) != 0) {
        perror("rspamd");
        exit(1);
    }
}

static void ask_next(struct client *c) {
    const struct sample *s = load_take(c->load);
    c->asked = s != NULL;
    if (!s) return;
    struct evbuffer *out = bufferevent_get_output(c->connection);
    evbuffer_add_printf(out,
                        "POST /checkv2 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nIP: %s\r\nHelo: "
                        "%s\r\nHostname: %s\r\nFrom: %s\r\nRcpt: reader@bench.test\r\n"
                        "MTA-Name: mx.bench.test\r\nContent-Length: %zu\r\n\r\n",
                        s->ip, s->helo, s->helo, s->from, s->text.n);
    evbuffer_add(out, s->text.data, s->text.n);
}

/* The number behind a field of the answer's header, or -1. */
static long field_number(struct slice head, const char *name) {
    for (size_t i = 0; i + strlen(name) < head.n; i++)
        if (strncasecmp(head.p + i, name, strlen(name)) == 0) return strtol(head.p + i + strlen(name), NULL, 10);
    return -1;
}

static void on_read(struct bufferevent *connection, void *ctx) {
    static const char *const words[] = {"\"R_SPF_ALLOW\"", "\"R_DKIM_ALLOW\"", ":s=one\"",
                                        ":s=two\"",        "\"ARC_ALLOW\"",    "\"DMARC_POLICY_ALLOW\""};
    struct client *c = ctx;
    struct evbuffer *input = bufferevent_get_input(connection);
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    if (end.pos < 0) return;
    struct slice head = slice_make(evbuffer_pullup(input, end.pos + 4), (size_t)end.pos + 2);
    long length = field_number(head, "\nContent-Length:");
    if (length < 0) {
        fprintf(stderr, "an answer without its length: %.*s\n", SLICE_FMT(head));
        exit(1);
    }
    if (evbuffer_get_length(input) < (size_t)end.pos + 4 + (size_t)length) return;
    struct slice whole = slice_make(evbuffer_pullup(input, end.pos + 4 + length), (size_t)end.pos + 4 + (size_t)length);
    bool close_after = !memmem(whole.p, (size_t)end.pos, "eep-", 4),
         passed = says(whole, words, sizeof words / sizeof *words);
    c->asked = false;
    load_done(c->load, passed, whole);
    evbuffer_drain(input, whole.n);
    if (close_after) open_connection(c);
    ask_next(c);
}

static void on_event(struct bufferevent *connection, short what, void *ctx) {
    struct client *c = ctx;
    (void)connection;
    if (what & BEV_EVENT_CONNECTED) return;
    if (c->asked) {
        fprintf(stderr, "rspamd went away before it answered\n");
        exit(1);
    }
    open_connection(c);
    ask_next(c);
}

void drive_rspamd(struct load *l, const struct settings *s) {
    for (int i = 0; i < l->sessions; i++) {
        struct client *c = memory_alloc(sizeof *c);
        c->load = l;
        c->port = s->http_port;
        open_connection(c);
        ask_next(c);
    }
}
