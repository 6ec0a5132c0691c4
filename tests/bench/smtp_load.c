/* A load for any SMTP server: N messages over S sessions at once, each session sending its next message when the last
 * one was answered.
 *
 *   smtp_load --port 25 --sessions 50 --messages 20000 --size 4096 --rcpt 'user%d@bench.test' --mailboxes 100 --from
 * 'sender@bench.test'
 *
 * MAIL, RCPT and DATA are pipelined when the server offers it. Message k goes to mailbox k modulo the number of
 * mailboxes; its text is different for each message. Prints one JSON object:
 * {"accepted":…,"refused":…,"seconds":…,"latency_ms":{"p50":…,"p99":…,"max":…}}; the first refusal in words on standard
 * error.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/net/stream.h"

enum { LINE_MAX_BYTES = 4096, ANSWER_MS = 120000 };
enum state { GREETING, EHLO, MAIL, RCPT, DATA, BODY, QUIT };

struct load {
    struct event_base *base;
    struct sockaddr_in to;
    const char *from, *rcpt;
    int messages, mailboxes, size, next, live;
    int accepted, refused;
    int *latency_us;
    bool told;
};

struct session {
    struct load *load;
    struct stream *stream;
    enum state state;
    bool pipelining;
    int number;
    int64_t began_us;
    struct buf text;
};

/* Header and body of message `number`: plausible text lines, no two messages alike. */
static void write_message(struct session *s) {
    static const char *const words[] = {"the", "queue",    "of",    "a",       "mail", "server", "holds", "what",
                                        "was", "promised", "until", "another", "has",  "taken",  "it",    "over"};
    char when[CLOCK_TEXT_BYTES];
    unsigned random = (unsigned)s->number * 2654435761u + 1;
    buf_reset(&s->text);
    buf_printf(&s->text, "From: Load <%s>\r\nTo: <", s->load->from);
    buf_printf(&s->text, "user%d", s->number % s->load->mailboxes);
    buf_printf(&s->text,
               "@example.test>\r\nSubject: message %d\r\nDate: %s\r\nMessage-ID: <%d.%lld@load.test>\r\nMIME-Version: "
               "1.0\r\nContent-Type: text/plain; "
               "charset=utf-8\r\n\r\n",
               s->number, clock_rfc5322(clock_wall_ms(), when), s->number, (long long)clock_wall_ms());
    size_t column = 0;
    while (s->text.n < (size_t)s->load->size - 2) {
        random = random * 1664525u + 1013904223u;
        const char *word = words[random >> 28];
        buf_add_str(&s->text, word);
        buf_printf(&s->text, "%u", (random >> 8) & 0xfff);
        column += strlen(word) + 4;
        if (column > 68) {
            buf_add_str(&s->text, "\r\n");
            column = 0;
        } else {
            buf_add_char(&s->text, ' ');
        }
    }
    buf_add_str(&s->text, "\r\n.\r\n");
}

static void end_session(struct session *s) {
    stream_destroy(s->stream);
    buf_free(&s->text);
    if (--s->load->live == 0) event_base_loopbreak(s->load->base);
    free(s);
}

static void next_message(struct session *s) {
    if (s->load->next == s->load->messages) {
        s->state = QUIT;
        stream_write(s->stream, SLICE("QUIT\r\n"));
        return;
    }
    char rcpt[256];
    s->number = s->load->next++;
    s->began_us = clock_monotonic_us();
    s->state = MAIL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(rcpt, sizeof rcpt, s->load->rcpt, s->number % s->load->mailboxes);
#pragma GCC diagnostic pop
    stream_printf(s->stream, "MAIL FROM:<%s>\r\n", s->load->from);
    if (s->pipelining)
        stream_printf(s->stream, "RCPT TO:<%s>\r\nDATA\r\n", rcpt);
    else
        memcpy(buf_reserve(&s->text, sizeof rcpt), rcpt, sizeof rcpt);
    if (s->pipelining) write_message(s);
}

static void refuse(struct session *s, struct slice line) {
    s->load->refused++;
    if (!s->load->told) fprintf(stderr, "refused: %.*s\n", SLICE_FMT(line));
    s->load->told = true;
}

/* One reply line that is the last of its reply. */
static void on_reply(struct session *s, struct slice line) {
    bool good = line.n && (line.p[0] == '2' || line.p[0] == '3');
    switch (s->state) {
    case GREETING:
        s->state = EHLO;
        stream_write(s->stream, SLICE("EHLO load.test\r\n"));
        return;
    case EHLO: next_message(s); return;
    case MAIL:
        s->state = RCPT;
        if (!s->pipelining) stream_printf(s->stream, "RCPT TO:<%s>\r\n", s->text.data);
        break;
    case RCPT:
        s->state = DATA;
        if (!s->pipelining) {
            stream_write(s->stream, SLICE("DATA\r\n"));
            write_message(s);
        }
        break;
    case DATA:
        if (!good) {
            refuse(s, line);
            s->state = EHLO;
            stream_write(s->stream, SLICE("RSET\r\n"));
            return;
        }
        s->state = BODY;
        stream_write(s->stream, buf_slice(&s->text));
        return;
    case BODY:
        if (good)
            s->load->latency_us[s->load->accepted++] = (int)(clock_monotonic_us() - s->began_us);
        else
            refuse(s, line);
        next_message(s);
        return;
    case QUIT: return;
    }
    if (!good && !s->load->told) {
        fprintf(stderr, "answered: %.*s\n", SLICE_FMT(line));
        s->load->told = true;
    }
}

static void on_stream(void *ctx, struct stream *stream, enum stream_event event) {
    struct session *s = ctx;
    struct slice line;
    int got;
    if (event == STREAM_CLOSED || event == STREAM_TIMEOUT) {
        if (s->state != QUIT) {
            fprintf(stderr, "a session ended early: %s\n",
                    event == STREAM_CLOSED ? stream_error(stream) : "no answer in time");
            s->load->refused++;
        }
        end_session(s);
        return;
    }
    if (event != STREAM_READABLE) return;
    while ((got = stream_line(stream, LINE_MAX_BYTES, &line)) != 0) {
        if (got < 0 || line.n < 3) continue;
        if (s->state == EHLO && line.n > 4 && slice_is_nocase(slice_skip(line, 4), "PIPELINING")) s->pipelining = true;
        if (line.n > 3 && line.p[3] == '-') continue;
        on_reply(s, line);
    }
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

int main(int argc, char **argv) {
    struct load load = {
        .from = "sender@load.test", .rcpt = "user%d@bench.test", .messages = 20000, .mailboxes = 100, .size = 4096};
    int sessions = 50, port = 25, option;
    static const struct option options[] = {
        {"port", 1, 0, 'p'},      {"sessions", 1, 0, 's'}, {"messages", 1, 0, 'n'}, {"size", 1, 0, 'b'},
        {"mailboxes", 1, 0, 'm'}, {"rcpt", 1, 0, 'r'},     {"from", 1, 0, 'f'},     {0}};
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p') port = atoi(optarg);
        if (option == 's') sessions = atoi(optarg);
        if (option == 'n') load.messages = atoi(optarg);
        if (option == 'b') load.size = atoi(optarg);
        if (option == 'm') load.mailboxes = atoi(optarg);
        if (option == 'r') load.rcpt = optarg;
        if (option == 'f') load.from = optarg;
        if (option == '?') return 64;
    }
    load.base = event_base_new();
    load.to = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    load.latency_us = memory_alloc((size_t)load.messages * sizeof(int));
    int64_t began = clock_monotonic_us();
    for (int i = 0; i < sessions; i++) {
        struct session *s = memory_alloc(sizeof *s);
        s->load = &load;
        load.live++;
        s->stream =
            stream_connect(load.base, (struct sockaddr *)&load.to, sizeof load.to, NULL, 0, 10000, on_stream, s);
        stream_set_timeout(s->stream, ANSWER_MS);
    }
    event_base_dispatch(load.base);
    double seconds = (double)(clock_monotonic_us() - began) / 1e6;
    qsort(load.latency_us, (size_t)load.accepted, sizeof(int), by_value);
    int n = load.accepted;
    printf(
        "{\"accepted\":%d,\"refused\":%d,\"seconds\":%.3f,\"latency_ms\":{\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f}}\n",
        n, load.refused, seconds, n ? load.latency_us[n / 2] / 1000.0 : 0,
        n ? load.latency_us[n * 99 / 100] / 1000.0 : 0, n ? load.latency_us[n - 1] / 1000.0 : 0);
    free(load.latency_us);
    event_base_free(load.base);
    return n == load.messages ? 0 : 1;
}
