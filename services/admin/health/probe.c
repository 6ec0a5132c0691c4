#include "services/admin/health/probe.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/net/stream.h"

enum { GREETING_MAX = 512, WHY_BYTES = 200, DNS_TCP_MAX = 65535, DNS_HEADER = 12, DNS_ID = 0x5042, DNS_SOA = 6 };

struct probe {
    struct event_base *base;
    struct evdns_base *dns;
    SSL_CTX *tls;
    const struct probe_target *target;
    probe_done_fn *done;
    void *ctx;
    struct event *clock;
    struct evdns_getaddrinfo_request *lookup;
    struct evutil_addrinfo *addresses, *next; /* next: the address that is tried when this one
                                                 fails */
    struct stream *stream;
    int timeout_ms;
    bool begun, connected, finished;
    char why[WHY_BYTES];
};

static void probe_free(struct probe *p) {
    event_free(p->clock);
    free(p);
}

/* Reports the result and frees the probe, or leaves that to the answer of a running name lookup. */
static void finish(struct probe *p, const char *why) {
    if (p->finished) return;
    p->finished = true;
    if (p->addresses) evutil_freeaddrinfo(p->addresses);
    p->addresses = NULL;
    if (p->stream) stream_finish(p->stream);
    p->done(p->ctx, why);
    if (p->lookup)
        evdns_getaddrinfo_cancel(p->lookup);
    else
        probe_free(p);
}

static void finish_text(struct probe *p, const char *what, struct slice text) {
    struct slice short_text = slice_head(text, 80);
    snprintf(p->why, sizeof p->why, "%s%.*s", what, SLICE_FMT(short_text));
    for (char *c = p->why; *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~') *c = '?';
    finish(p, p->why);
}

/* Greetings */

static void read_greeting(struct probe *p) {
    struct slice line;
    int whole = stream_line(p->stream, GREETING_MAX, &line);
    if (whole == 0) return;
    bool smtp = whole > 0 && slice_starts(line, SLICE("220")), pop3 = whole > 0 && slice_starts(line, SLICE("+OK")),
         imap = whole > 0 && slice_starts(line, SLICE("* OK"));
    if (!smtp && !pop3 && !imap) {
        finish_text(p, "it greets with ", whole > 0 ? line : SLICE("an unterminated line"));
        return;
    }
    stream_write(p->stream, imap ? SLICE("a LOGOUT\r\n") : SLICE("QUIT\r\n"));
    finish(p, NULL);
}

static void begin_tls(struct probe *p) {
    SSL *ssl = SSL_new(p->tls);
    if (!ssl) memory_exhausted();
    if (p->target->server_name) SSL_set_tlsext_host_name(ssl, p->target->server_name);
    stream_start_tls(p->stream, ssl, false);
}

static void check_certificate(struct probe *p) {
    X509 *certificate = SSL_get0_peer_certificate(stream_ssl(p->stream));
    if (!certificate || X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        finish(p, "its certificate has expired");
}

/* DNS */

static void add_u16(struct buf *out, unsigned value) {
    buf_add_char(out, (char)(value >> 8));
    buf_add_char(out, (char)value);
}

static void ask_soa(struct probe *p) {
    struct buf question = {0}, message = {0};
    struct slice name = slice_of(p->target->server_name), label;
    while (slice_cut(&name, '.', &label)) {
        buf_add_char(&question, (char)label.n);
        buf_add_slice(&question, label);
    }
    if (name.n) {
        buf_add_char(&question, (char)name.n);
        buf_add_slice(&question, name);
    }
    buf_add_char(&question, 0);
    add_u16(&message, (unsigned)(DNS_HEADER + question.n + 4));
    add_u16(&message, DNS_ID);
    add_u16(&message, 0); /* a standard query; recursion is not requested */
    add_u16(&message, 1);
    for (int i = 0; i < 3; i++) add_u16(&message, 0);
    buf_add_slice(&message, buf_slice(&question));
    add_u16(&message, DNS_SOA);
    add_u16(&message, 1);
    stream_write(p->stream, buf_slice(&message));
    buf_free(&question);
    buf_free(&message);
}

static unsigned u16(const unsigned char *p) { return (unsigned)(p[0] << 8 | p[1]); }

static void read_soa(struct probe *p) {
    static const char *const codes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    struct slice got = stream_bytes(p->stream, 2 + DNS_HEADER);
    const unsigned char *m = (const unsigned char *)got.p;
    if (got.n >= 2 && (u16(m) < DNS_HEADER || u16(m) > DNS_TCP_MAX - 1)) {
        finish(p, "its answer is not a DNS message");
        return;
    }
    if (got.n < 2 + DNS_HEADER) return;
    unsigned code = m[5] & 15u, answers = u16(m + 8);
    if (u16(m + 2) != DNS_ID || !(m[4] & 0x80))
        finish(p, "its answer is not a DNS message");
    else if (!p->target->server_name || (code == 0 && answers))
        finish(p, NULL);
    else if (code == 0)
        finish_text(p, "it has no SOA record of ", slice_of(p->target->server_name));
    else {
        char text[64];
        snprintf(text, sizeof text, "it answers %s for ",
                 code < sizeof codes / sizeof *codes ? codes[code] : "an error");
        finish_text(p, text, slice_of(p->target->server_name));
    }
}

/* The connection */

static void connect_next(struct probe *p);

static void on_stream(void *ctx, struct stream *s, enum stream_event event) {
    struct probe *p = ctx;
    if (p->finished) return;
    switch (event) {
    case STREAM_CONNECTED:
        p->connected = true;
        if (p->target->kind == PROBE_TLS) begin_tls(p);
        if (p->target->kind == PROBE_SOA) ask_soa(p);
        break;
    case STREAM_TLS_READY: check_certificate(p); break;
    case STREAM_READABLE:
        if (p->target->kind == PROBE_SOA)
            read_soa(p);
        else
            read_greeting(p);
        break;
    case STREAM_CLOSED:
        snprintf(p->why, sizeof p->why, "%s", stream_error(s));
        p->stream = NULL;
        stream_destroy(s);
        if (!p->connected && p->next)
            connect_next(p);
        else
            finish(p, p->why);
        break;
    case STREAM_DRAINED:
    case STREAM_TIMEOUT: break;
    }
}

static void connect_next(struct probe *p) {
    struct evutil_addrinfo *to = p->next;
    p->next = to->ai_next;
    p->stream = stream_connect(p->base, to->ai_addr, (socklen_t)to->ai_addrlen, NULL, 0, p->timeout_ms, on_stream, p);
}

static void on_addresses(int error, struct evutil_addrinfo *found, void *ctx) {
    struct probe *p = ctx;
    p->lookup = NULL;
    if (p->finished) {
        if (found) evutil_freeaddrinfo(found);
        probe_free(p);
        return;
    }
    p->addresses = p->next = found;
    if (found)
        connect_next(p);
    else if (error == EVUTIL_EAI_NONAME)
        finish(p, "its name does not resolve: check that the service is started");
    else
        finish_text(p, "its name cannot be resolved: ", slice_of(evutil_gai_strerror(error)));
}

/* Called at the beginning, from the loop, and when the time limit has expired. */
static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct probe *p = ctx;
    (void)fd, (void)what;
    if (p->begun) {
        finish(p, p->connected ? "it accepts connections, but sends no greeting" : "no answer");
        return;
    }
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct timeval limit = {p->timeout_ms / 1000, p->timeout_ms % 1000 * 1000};
    char port[8];
    p->begun = true;
    event_add(p->clock, &limit);
    snprintf(port, sizeof port, "%d", p->target->port);
    /* the answer may arrive inside the call and end the probe */
    struct evdns_getaddrinfo_request *lookup =
        evdns_getaddrinfo(p->dns, p->target->host, port, &hints, on_addresses, p);
    if (lookup) p->lookup = lookup;
}

void probe_start(struct event_base *base, struct evdns_base *dns, SSL_CTX *tls, const struct probe_target *target,
                 int timeout_ms, probe_done_fn *done, void *ctx) {
    struct probe *p = memory_alloc(sizeof *p);
    struct timeval now = {0, 0};
    *p = (struct probe){
        .base = base, .dns = dns, .tls = tls, .target = target, .done = done, .ctx = ctx, .timeout_ms = timeout_ms};
    p->clock = evtimer_new(base, on_clock, p);
    if (!p->clock) memory_exhausted();
    evtimer_add(p->clock, &now);
}
