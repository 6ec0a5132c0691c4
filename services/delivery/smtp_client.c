#include "services/delivery/smtp_client.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/net/stream.h"
#include "services/delivery/reply.h"
#include "services/delivery/smtp_tls.h"

enum state { CONNECTING, GREETING, EHLO, HELO, STARTTLS, HANDSHAKE, MAIL, RCPT, DATA, BODY, QUIT };

struct smtp_client {
    const struct smtp_job *job;
    smtp_done_fn *done;
    void *ctx;
    struct stream *stream;
    enum state state;
    struct smtp_reply reply;
    bool pipelining, eight_bit, size, dsn, smtputf8, starttls, requiretls;
    size_t size_max;
    size_t rcpt_count, rcpt_at, rcpt_good;
    struct smtp_rcpt_result *rcpts;
    size_t sent;     /* of the message, into the stream */
    bool line_start; /* the next byte begins a line: a dot there is doubled (§4.5.2) */
    bool ended;      /* done was called */
    int depth;       /* in on_stream's loop: freed at its end */
    enum smtp_tls_reached tls_reached;
    long verify_code;
    char tls_version[16], tls_cipher[64], tls_verified[8], local_ip[64], peer_name[256];
    char why[300];
};

static void client_free(struct smtp_client *c) {
    for (size_t i = 0; i < c->rcpt_count; i++) free(c->rcpts[i].text);
    free(c->rcpts);
    buf_free(&c->reply.text);
    free(c);
}

void smtp_client_cancel(struct smtp_client *c) {
    if (c->stream) stream_destroy(c->stream);
    client_free(c);
}

static void finish(struct smtp_client *c, enum smtp_end end, int code, const char *enhanced, const char *reason) {
    struct smtp_result result = {.end = end,
                                 .code = code,
                                 .reason = reason,
                                 .rcpts = c->rcpts,
                                 .tls_version = c->tls_version,
                                 .tls_cipher = c->tls_cipher,
                                 .tls_verified = c->tls_verified,
                                 .local_ip = c->local_ip,
                                 .peer_name = c->peer_name,
                                 .tls_reached = c->tls_reached,
                                 .verify_code = c->verify_code,
                                 .dsn = c->dsn};
    snprintf(result.enhanced, sizeof result.enhanced, "%s", enhanced);
    if (c->state > GREETING && c->stream && end != SMTP_END_NOT_NOW)
        stream_write(c->stream, SLICE("QUIT\r\n")); /* §4.1.1.10; its answer changes nothing any more */
    if (c->stream) stream_finish(c->stream);
    c->stream = NULL;
    c->ended = true;
    c->done(c->ctx, &result);
    if (!c->depth) client_free(c);
}

/* The server's own words for not doing it now. */
static void finish_with_reply(struct smtp_client *c, enum smtp_end end) {
    struct buf text = {0};
    smtp_reply_text(&c->reply, &text);
    finish(c, end, c->reply.code, c->reply.enhanced, buf_str(&text));
    buf_free(&text);
}

static void keep_reply(struct smtp_client *c, struct smtp_rcpt_result *to) {
    struct buf text = {0};
    smtp_reply_text(&c->reply, &text);
    free(to->text);
    to->code = c->reply.code;
    snprintf(to->enhanced, sizeof to->enhanced, "%s", c->reply.enhanced);
    to->text = memory_copy(buf_slice(&text));
    buf_free(&text);
}

static void send_ehlo(struct smtp_client *c) {
    c->state = EHLO;
    stream_printf(c->stream, "EHLO %s\r\n", c->job->hello);
}

static void send_rcpt(struct smtp_client *c, size_t i) {
    const struct smtp_rcpt *r = &c->job->rcpts[i];
    stream_printf(c->stream, "RCPT TO:<%s>", r->address);
    if (c->dsn && r->notify) stream_printf(c->stream, " NOTIFY=%s", r->notify);
    if (c->dsn && r->orcpt) stream_printf(c->stream, " ORCPT=%s", r->orcpt);
    stream_write(c->stream, SLICE("\r\n"));
}

static void send_mail(struct smtp_client *c) {
    const struct smtp_job *j = c->job;
    if (j->smtputf8 && !c->smtputf8) {
        finish(c, SMTP_END_NO_SMTPUTF8, 550, "5.6.7", "the message needs SMTPUTF8, which the server does not offer");
        return;
    }
    if (c->size && c->size_max && j->message.n > c->size_max) {
        finish(c, SMTP_END_TOO_LARGE, 552, "5.3.4", "the message is larger than the server takes");
        return;
    }
    if (j->require_tls && !c->requiretls) {
        finish(c, SMTP_END_NO_REQUIRETLS, 550, "5.7.30",
               "REQUIRETLS was asked for, and the server does not offer it"); /* RFC 8689 §4.2.1 */
        return;
    }
    stream_printf(c->stream, "MAIL FROM:<%.*s>", SLICE_FMT(j->from));
    if (c->size) stream_printf(c->stream, " SIZE=%zu", j->message.n);
    if (c->eight_bit && j->eight_bit) stream_write(c->stream, SLICE(" BODY=8BITMIME"));
    if (j->smtputf8) stream_write(c->stream, SLICE(" SMTPUTF8"));
    if (j->require_tls) stream_write(c->stream, SLICE(" REQUIRETLS"));
    if (c->dsn && j->ret) stream_printf(c->stream, " RET=%s", j->ret);
    if (c->dsn && j->envid) stream_printf(c->stream, " ENVID=%s", j->envid);
    stream_write(c->stream, SLICE("\r\n"));
    c->state = MAIL;
    if (!c->pipelining) return;
    for (size_t i = 0; i < j->rcpt_count; i++) send_rcpt(c, i);
    stream_write(c->stream, SLICE("DATA\r\n"));
}

/* Gives the stream the next part of the message, dots doubled, ended by the lone dot. */
static void send_body(struct smtp_client *c) {
    struct slice m = c->job->message;
    while (c->sent < m.n && stream_pending_output(c->stream) < SMTP_WRITE_AHEAD) {
        struct slice rest = slice_skip(m, c->sent);
        if (c->line_start && rest.p[0] == '.') stream_write(c->stream, SLICE("."));
        const char *dot = memmem(rest.p, rest.n, "\r\n.", 3);
        size_t n = dot ? (size_t)(dot - rest.p) + 2 : rest.n;
        if (n > SMTP_WRITE_AHEAD) n = SMTP_WRITE_AHEAD;
        stream_write(c->stream, slice_head(rest, n));
        c->sent += n;
        c->line_start = c->sent >= 2 && memcmp(m.p + c->sent - 2, "\r\n", 2) == 0;
    }
    if (c->sent < m.n) return;
    if (!c->line_start) stream_write(c->stream, SLICE("\r\n"));
    stream_write(c->stream, SLICE(".\r\n"));
    c->sent = SIZE_MAX;
    stream_set_timeout(c->stream, SMTP_DATA_END_MS);
}

static void start_handshake(struct smtp_client *c) {
    SSL *ssl = smtp_tls_create(c->job->tls_context, c->job->tls);
    c->tls_reached = SMTP_TLS_BROKEN; /* until it stands */
    if (!ssl) {
        finish(c, SMTP_END_TLS_FAILED, 0, "4.7.5", "TLS cannot be set up as the domain's policy asks");
        return;
    }
    c->state = HANDSHAKE;
    stream_start_tls(c->stream, ssl, false);
}

/* Whether mail may go without TLS. */
static bool may_be_plain(const struct smtp_client *c) {
    return c->job->tls->level == TLS_MAY || c->job->tls->level == TLS_NEVER;
}

static void on_ehlo(struct smtp_client *c) {
    struct slice value;
    uint64_t n = 0;
    bool tls = stream_ssl(c->stream) != NULL;
    c->pipelining = smtp_reply_offers(&c->reply, "PIPELINING", &value);
    c->eight_bit = smtp_reply_offers(&c->reply, "8BITMIME", &value);
    c->dsn = smtp_reply_offers(&c->reply, "DSN", &value);
    c->smtputf8 = smtp_reply_offers(&c->reply, "SMTPUTF8", &value);
    c->requiretls = smtp_reply_offers(&c->reply, "REQUIRETLS", &value);
    c->starttls = smtp_reply_offers(&c->reply, "STARTTLS", &value);
    c->size = smtp_reply_offers(&c->reply, "SIZE", &value);
    if (c->size && slice_to_u64(value, SIZE_MAX, &n) == 0) c->size_max = (size_t)n;
    if (tls || c->job->tls->level == TLS_NEVER) {
        send_mail(c);
        return;
    }
    if (!c->starttls) c->tls_reached = SMTP_TLS_NOT_OFFERED;
    if (c->starttls) {
        c->state = STARTTLS;
        stream_write(c->stream, SLICE("STARTTLS\r\n"));
    } else if (may_be_plain(c)) {
        send_mail(c);
    } else {
        finish(c, SMTP_END_TLS_FAILED, 0, "4.7.4", "the server does not offer STARTTLS, and its policy asks for it");
    }
}

/* The first word of the greeting is the name the server gives itself (RFC 5321 §4.2). */
static void keep_peer_name(struct smtp_client *c) {
    struct slice text = buf_slice(&c->reply.text), line, name;
    if (!slice_cut(&text, '\n', &line)) line = text;
    if (!slice_cut(&line, ' ', &name)) name = line;
    size_t n = 0;
    for (; n < name.n && n + 1 < sizeof c->peer_name; n++)
        c->peer_name[n] =
            name.p[n] > ' ' && name.p[n] < 0x7f ? name.p[n] : '?'; /* nothing but ASCII goes into our JSON */
    c->peer_name[n] = '\0';
}

/* The answer to DATA, or to the body, is the answer for every recipient that was taken. */
static void answer_taken(struct smtp_client *c) {
    for (size_t i = 0; i < c->job->rcpt_count; i++)
        if (c->rcpts[i].code / 100 == 2) keep_reply(c, &c->rcpts[i]);
    finish(c, SMTP_END_DONE, 0, "", "");
}

static void on_reply(struct smtp_client *c) {
    int class = c->reply.code / 100;
    switch (c->state) {
    case GREETING:
        if (class != 2) {
            finish_with_reply(c, SMTP_END_NOT_NOW);
        } else {
            keep_peer_name(c);
            send_ehlo(c);
        }
        break;
    case EHLO:
        if (class == 2) {
            on_ehlo(c);
        } else if (class == 5 && !stream_ssl(c->stream) && may_be_plain(c)) { /* §3.2: a server of old */
            if (c->job->tls->level == TLS_MAY) c->tls_reached = SMTP_TLS_NOT_OFFERED;
            c->state = HELO;
            stream_printf(c->stream, "HELO %s\r\n", c->job->hello);
        } else {
            finish_with_reply(c, SMTP_END_NOT_NOW);
        }
        break;
    case HELO:
        if (class == 2)
            send_mail(c);
        else
            finish_with_reply(c, SMTP_END_NOT_NOW);
        break;
    case STARTTLS:
        if (class == 2) {
            start_handshake(c);
            break;
        }
        c->tls_reached = SMTP_TLS_NOT_OFFERED;
        if (may_be_plain(c))
            send_mail(c);
        else
            finish_with_reply(c, SMTP_END_TLS_FAILED);
        break;
    case MAIL:
        if (class != 2) { /* the answer to MAIL is the answer for all */
            for (size_t i = 0; i < c->job->rcpt_count; i++) keep_reply(c, &c->rcpts[i]);
            finish(c, SMTP_END_DONE, 0, "", "");
            break;
        }
        c->state = RCPT;
        if (!c->pipelining) send_rcpt(c, 0);
        break;
    case RCPT:
        keep_reply(c, &c->rcpts[c->rcpt_at]);
        if (class == 2) c->rcpt_good++;
        if (++c->rcpt_at < c->job->rcpt_count) {
            if (!c->pipelining) send_rcpt(c, c->rcpt_at);
        } else if (c->rcpt_good || c->pipelining) {
            c->state = DATA;
            if (!c->pipelining) stream_write(c->stream, SLICE("DATA\r\n"));
        } else {
            finish(c, SMTP_END_DONE, 0, "", "");
        }
        break;
    case DATA:
        if (c->reply.code == 354 &&
            !c->rcpt_good) { /* RFC 2920 §3.1: nobody was taken, and yet it wants data: nothing but the dot */
            c->state = BODY;
            c->sent = SIZE_MAX;
            stream_write(c->stream, SLICE(".\r\n"));
        } else if (c->reply.code == 354) {
            c->state = BODY;
            c->line_start = true;
            stream_set_timeout(c->stream, SMTP_DATA_MS);
            send_body(c);
        } else if (class == 4 || class == 5) {
            answer_taken(c);
        } else { /* anything else is no answer to DATA (§4.3.2): above all, a 2xx takes nothing, as there was no body
                    yet */
            finish_with_reply(c, SMTP_END_NOT_NOW);
        }
        break;
    case BODY:
        if (c->sent != SIZE_MAX) { /* an answer before the end of the message: it will not be taken */
            finish_with_reply(c, SMTP_END_NOT_NOW);
            break;
        }
        answer_taken(c);
        break;
    case CONNECTING:
    case HANDSHAKE:
    case QUIT: break;
    }
}

static void on_tls(struct smtp_client *c) {
    SSL *ssl = stream_ssl(c->stream);
    snprintf(c->tls_version, sizeof c->tls_version, "%s", stream_tls_version(c->stream));
    snprintf(c->tls_cipher, sizeof c->tls_cipher, "%s", stream_tls_cipher(c->stream));
    c->tls_reached = SMTP_TLS_STANDS;
    c->verify_code = SSL_get0_peer_certificate(ssl) ? SSL_get_verify_result(ssl) : X509_V_ERR_UNSPECIFIED;
    bool good = c->verify_code == X509_V_OK;
    snprintf(c->tls_verified, sizeof c->tls_verified, "%s",
             !good                            ? "none"
             : c->job->tls->level == TLS_DANE ? "dane"
                                              : "pkix");
    send_ehlo(c);
}

static void on_lost(struct smtp_client *c, const char *what) {
    bool handshake = c->state == HANDSHAKE;
    bool judged = handshake && stream_ssl(c->stream) && !may_be_plain(c) &&
                  c->job->tls->level != TLS_ENCRYPT; /* else the certificate was no reason to end */
    long verify = judged ? SSL_get_verify_result(stream_ssl(c->stream)) : X509_V_OK;
    if (handshake) c->verify_code = verify;
    snprintf(c->why, sizeof c->why, "%s%s%s", what, verify == X509_V_OK ? "" : ": ",
             verify == X509_V_OK ? "" : X509_verify_cert_error_string(verify));
    finish(c, handshake ? SMTP_END_TLS_FAILED : SMTP_END_NOT_NOW, 0,
           handshake                ? "4.7.5"
           : c->state == CONNECTING ? "4.4.1"
                                    : "4.4.2",
           c->why);
}

static void on_stream(void *ctx, struct stream *stream, enum stream_event event) {
    struct smtp_client *c = ctx;
    struct slice line;
    int got;
    switch (event) {
    case STREAM_CONNECTED:
        c->state = GREETING;
        snprintf(c->local_ip, sizeof c->local_ip, "%s", stream_local(stream));
        stream_set_timeout(stream, SMTP_GREETING_MS);
        break;
    case STREAM_TLS_READY: on_tls(c); break;
    case STREAM_CLOSED: on_lost(c, stream_error(stream)); break;
    case STREAM_TIMEOUT: on_lost(c, "the server did not answer in time"); break;
    case STREAM_DRAINED:
        if (c->state == BODY && c->sent != SIZE_MAX) send_body(c);
        break;
    case STREAM_READABLE:
        c->depth++;
        /* finish() frees the client only at depth 0, and here it is deeper */
        while (!c->ended &&
               (got = stream_line(stream, SMTP_REPLY_LINE_MAX, &line)) != 0) { // NOLINT(clang-analyzer-unix.Malloc)
            int whole = got < 0 ? -1 : smtp_reply_add(&c->reply, line);
            if (whole < 0) {
                on_lost(c, "the server does not speak SMTP: its reply is not of the form \"250 text\"");
                break;
            }
            if (!whole) continue;
            if (c->state == GREETING) stream_set_timeout(stream, SMTP_COMMAND_MS);
            on_reply(c);
            smtp_reply_reset(&c->reply);
        }
        c->depth--; // NOLINT(clang-analyzer-unix.Malloc)
        if (c->ended) client_free(c);
        break;
    }
}

struct smtp_client *smtp_client_start(const struct smtp_job *job, smtp_done_fn *done, void *ctx) {
    struct smtp_client *c = memory_alloc(sizeof *c);
    c->job = job;
    c->done = done;
    c->ctx = ctx;
    c->rcpt_count = job->rcpt_count;
    c->rcpts = memory_alloc(job->rcpt_count * sizeof *c->rcpts);
    snprintf(c->tls_verified, sizeof c->tls_verified, "none");
    c->stream = stream_connect(job->base, (const struct sockaddr *)&job->address, job->address_n, NULL, 0,
                               SMTP_CONNECT_MS, on_stream, c);
    return c;
}
