#include "tests/bench/verify/milter.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "libcommon/base/arena.h"
#include "libcommon/mail/header.h"

enum {
    VERSION = 6,
    ACTIONS_ALL = 0x1ff,
    PROTOCOL_ALL = 0x1fffff,
    CHUNK = 65535,
    PACKET_MAX = 1 << 20,
    HEADER_BYTES = 5
};
/* What a milter may decline in the negotiation: to be sent a step, and to answer it. */
enum {
    SKIP_CONNECT = 0x1,
    SKIP_HELO = 0x2,
    SKIP_MAIL = 0x4,
    SKIP_RCPT = 0x8,
    SKIP_BODY = 0x10,
    SKIP_HEADERS = 0x20,
    SKIP_END_OF_HEADERS = 0x40,
    SKIP_DATA = 0x200,
    MUTE_HEADERS = 0x80,
    MUTE_CONNECT = 0x1000,
    MUTE_HELO = 0x2000,
    MUTE_MAIL = 0x4000,
    MUTE_RCPT = 0x8000,
    MUTE_DATA = 0x10000,
    MUTE_END_OF_HEADERS = 0x40000,
    MUTE_BODY = 0x80000,
    LEADING_SPACE = 0x100000,
};

struct milter {
    struct bufferevent *connection;
    char ip[48], helo[256];
    milter_fn *judged;
    void *ctx;
    bool negotiated, greeted, busy;
    uint32_t protocol;
    int expected; /* answers outstanding, the message's last one included */
    const struct sample *waiting;
    struct buf on_top, added, out;
};

static void add_u32(struct buf *b, uint32_t n) {
    n = htonl(n);
    buf_add(b, &n, sizeof n);
}

/* A packet is its length (of command and data), command and data: begun, then closed when its data
 * is known. */
static size_t begin_packet(struct buf *b, char command) {
    size_t at = b->n;
    add_u32(b, 0);
    buf_add_char(b, command);
    return at;
}

static void end_packet(struct buf *b, size_t at) {
    uint32_t n = htonl((uint32_t)(b->n - at - 4));
    memcpy(b->data + at, &n, sizeof n);
}

static void add_text(struct buf *b, const char *text) { buf_add(b, text, strlen(text) + 1); }

/* A step with one text, unless the milter does not want it; counts its answer. */
static void add_step(struct milter *m, char command, const char *text, uint32_t no, uint32_t mute) {
    if (m->protocol & no) return;
    size_t at = begin_packet(&m->out, command);
    if (text) add_text(&m->out, text);
    end_packet(&m->out, at);
    if (!(m->protocol & mute)) m->expected++;
}

static void add_macros(struct milter *m, char command, const char *const macros[], size_t count) {
    size_t at = begin_packet(&m->out, 'D');
    buf_add_char(&m->out, command);
    for (size_t i = 0; i < count; i++) add_text(&m->out, macros[i]);
    end_packet(&m->out, at);
}

static void add_greeting(struct milter *m) {
    add_macros(m, 'C', (const char *const[]){"j", "mx.bench.test", "{daemon_name}", "mx.bench.test", "v", "bench"}, 6);
    if (!(m->protocol & SKIP_CONNECT)) {
        size_t at = begin_packet(&m->out, 'C');
        uint16_t port = htons(25000);
        add_text(&m->out, m->helo); /* the client's name, by reverse DNS */
        buf_add_char(&m->out, '4');
        buf_add(&m->out, &port, sizeof port);
        add_text(&m->out, m->ip);
        end_packet(&m->out, at);
        if (!(m->protocol & MUTE_CONNECT)) m->expected++;
    }
    add_step(m, 'H', m->helo, SKIP_HELO, MUTE_HELO);
    m->greeted = true;
}

/* Folds go as LF alone, as mail servers give them. */
static void add_fields(struct milter *m, struct slice block) {
    struct header_field f;
    size_t from = 0;
    while (!(m->protocol & SKIP_HEADERS) && header_next(block, &from, &f) == 1) {
        size_t at = begin_packet(&m->out, 'L');
        struct slice value = f.value;
        if (!(m->protocol & LEADING_SPACE) && value.n && value.p[0] == ' ') value = slice_skip(value, 1);
        buf_add_slice(&m->out, f.name);
        buf_add_char(&m->out, 0);
        char *to = buf_reserve(&m->out, value.n + 1);
        size_t n = 0;
        for (size_t i = 0; i < value.n; i++)
            if (value.p[i] != '\r') to[n++] = value.p[i];
        to[n++] = 0;
        m->out.n += n;
        end_packet(&m->out, at);
        if (!(m->protocol & MUTE_HEADERS)) m->expected++;
    }
}

static void send_message(struct milter *m) {
    const struct sample *s = m->waiting;
    char from[300];
    buf_reset(&m->out);
    buf_reset(&m->added);
    m->waiting = NULL;
    m->expected = 0;
    if (!m->greeted) add_greeting(m);
    snprintf(from, sizeof from, "<%s>", s->from);
    add_macros(
        m, 'M',
        (const char *const[]){"i", "4BENCH0ID", "{mail_addr}", s->from, "{mail_host}", "", "{mail_mailer}", "smtp"}, 8);
    add_step(m, 'M', from, SKIP_MAIL, MUTE_MAIL);
    add_macros(m, 'R',
               (const char *const[]){"{rcpt_addr}", "reader@bench.test", "{rcpt_host}", "bench.test", "{rcpt_mailer}",
                                     "local"},
               6);
    add_step(m, 'R', "<reader@bench.test>", SKIP_RCPT, MUTE_RCPT);
    add_step(m, 'T', NULL, SKIP_DATA, MUTE_DATA);
    add_fields(m, buf_slice(&m->on_top));
    add_fields(m, s->header);
    add_step(m, 'N', NULL, SKIP_END_OF_HEADERS, MUTE_END_OF_HEADERS);
    for (struct slice rest = s->body; rest.n && !(m->protocol & SKIP_BODY); rest = slice_skip(rest, CHUNK)) {
        size_t at = begin_packet(&m->out, 'B');
        buf_add_slice(&m->out, slice_head(rest, CHUNK));
        end_packet(&m->out, at);
        if (!(m->protocol & MUTE_BODY)) m->expected++;
    }
    add_macros(m, 'E', (const char *const[]){"i", "4BENCH0ID"}, 2);
    add_step(m, 'E', NULL, 0, 0);
    bufferevent_write(m->connection, m->out.data, m->out.n);
}

static void judge(struct milter *m, bool accepted) {
    m->busy = false;
    m->judged(m->ctx, accepted, buf_slice(&m->added)); /* may close m */
}

/* A field to add ('h') or to insert at an index ('i'); ours go on top. */
static void take_field(struct milter *m, struct slice data) {
    size_t name = strnlen(data.p, data.n);
    struct slice value = slice_skip(data, name + 1);
    buf_add_slice(&m->added, slice_head(data, name));
    buf_add_str(&m->added, value.n && value.p[0] == ' ' ? ":" : ": ");
    for (size_t i = 0; i < value.n && value.p[i]; i++) {
        if (value.p[i] == '\n' && i && value.p[i - 1] != '\r') buf_add_char(&m->added, '\r');
        buf_add_char(&m->added, value.p[i]);
    }
    buf_add_str(&m->added, "\r\n");
}

/* One packet of the milter's; true when it judged the message, after which m may be gone. */
static bool take_packet(struct milter *m, char command, struct slice data) {
    uint32_t flags;
    switch (command) {
    case 'O':
        memcpy(&flags, data.p + 8, sizeof flags);
        m->protocol = ntohl(flags);
        m->negotiated = true;
        if (m->waiting) send_message(m);
        return false;
    case 'h': take_field(m, data); return false;
    case 'i': take_field(m, slice_skip(data, 4)); return false;
    case 'c':
        if (--m->expected) return false;
        judge(m, true);
        return true;
    case 'a': /* accepted early: not what is to be measured, unless it is the last answer */
        judge(m, m->expected == 1);
        return true;
    case 'r':
    case 't':
    case 'y':
    case 'd': judge(m, false); return true;
    default: return false; /* progress and changes that this load does not make */
    }
}

static void on_read(struct bufferevent *connection, void *ctx) {
    struct milter *m = ctx;
    struct evbuffer *input = bufferevent_get_input(connection);
    for (;;) {
        uint32_t n;
        if (evbuffer_get_length(input) < HEADER_BYTES) return;
        evbuffer_copyout(input, &n, sizeof n);
        n = ntohl(n);
        if (n < 1 || n > PACKET_MAX) {
            fprintf(stderr, "the milter sent a malformed packet\n");
            exit(1);
        }
        if (evbuffer_get_length(input) < n + 4) return;
        char *packet = (char *)evbuffer_pullup(input, (ssize_t)n + 4), *copy = memory_copy(slice_make(packet + 4, n));
        evbuffer_drain(input, n + 4);
        bool judged = take_packet(m, copy[0], slice_make(copy + 1, n - 1));
        free(copy);
        if (judged) return; /* a session has one message in work, so nothing can be left */
    }
}

static void on_event(struct bufferevent *connection, short what, void *ctx) {
    (void)connection, (void)ctx;
    if (what & BEV_EVENT_CONNECTED) return;
    fprintf(stderr, "the milter went away\n");
    exit(1);
}

struct milter *milter_open(struct event_base *base, const char *path, const char *ip, const char *helo,
                           milter_fn *judged, void *ctx) {
    struct milter *m = memory_alloc(sizeof *m);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    m->judged = judged, m->ctx = ctx;
    snprintf(m->ip, sizeof m->ip, "%s", ip);
    snprintf(m->helo, sizeof m->helo, "%s", helo);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    m->connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    bufferevent_setcb(m->connection, on_read, NULL, on_event, m);
    bufferevent_enable(m->connection, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(m->connection, (struct sockaddr *)&to, sizeof to) != 0) {
        perror(path);
        exit(1);
    }
    size_t at = begin_packet(&m->out, 'O');
    add_u32(&m->out, VERSION);
    add_u32(&m->out, ACTIONS_ALL);
    add_u32(&m->out, PROTOCOL_ALL);
    end_packet(&m->out, at);
    bufferevent_write(m->connection, m->out.data, m->out.n);
    return m;
}

void milter_give(struct milter *m, const struct sample *s, struct slice on_top) {
    buf_reset(&m->on_top);
    buf_add_slice(&m->on_top, on_top);
    m->waiting = s;
    m->busy = true;
    if (m->negotiated) send_message(m);
}

void milter_close(struct milter *m) {
    static const unsigned char quit[] = {0, 0, 0, 1, 'Q'};
    /* written at once: the connection goes now */
    ssize_t sent = send(bufferevent_getfd(m->connection), quit, sizeof quit, MSG_NOSIGNAL);
    (void)sent;
    bufferevent_free(m->connection);
    buf_free(&m->on_top);
    buf_free(&m->added);
    buf_free(&m->out);
    free(m);
}
