/* A session: greeting, the order of commands, replies. One command at a time, in the order they came (RFC 2920 §3.2).
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "services/smtpd/smtpd.h"

bool session_is_submission(const struct session *s) { return s->port != PORT_MX; }

void transaction_reset(struct session *s) {
    struct transaction *t = &s->t;
    struct arena *arena = t->arena;
    struct buf text = t->text;
    s->smtpd->memory_used -= text.cap;
    for (size_t i = 0; i < t->hash_count; i++) body_hash_destroy(t->hashes[i]);
    buf_reset(&text);
    arena_reset(arena);
    *t = (struct transaction){.arena = arena, .text = text};
    s->smtpd->memory_used += text.cap;
}

void session_destroy(struct session *s) {
    struct smtpd *d = s->smtpd;
    if (s->ticket) bus_cancel(d->worker->bus, s->ticket);
    s->ticket = 0;
    message_free(s->asking);
    s->asking = NULL;
    if (s->stream) stream_destroy(s->stream);
    s->stream = NULL;
    if (s->committing) { /* the store's answer still comes to it */
        s->gone = true;
        return;
    }
    transaction_reset(s);
    d->memory_used -= s->t.text.cap;
    buf_free(&s->t.text);
    arena_destroy(s->t.arena);
    buf_free(&s->auth_user);
    free(s->helo);
    free(s->user);
    free(s->login);
    if (s->previous)
        s->previous->next = s->next;
    else
        d->sessions = s->next;
    if (s->next) s->next->previous = s->previous;
    d->count--;
    metric_add(&smtpd_connections, -1);
    if (service_is_draining() && d->count == 0) service_drained(d->worker);
    free(s);
}

__attribute__((format(printf, 2, 0))) static void reply_va(struct session *s, const char *format, va_list ap) {
    char line[1024];
    int n = vsnprintf(line, sizeof line - 2, format, ap);
    if (n < 0 || !s->stream) return;
    if ((size_t)n > sizeof line - 3) n = (int)sizeof line - 3;
    for (int i = 0; i < n; i++) /* what others sent must not make a line of its own */
        if (line[i] == '\r' || line[i] == '\n') line[i] = ' ';
    memcpy(line + n, "\r\n", 3);
    stream_write(s->stream, slice_make(line, (size_t)n + 2));
}

void session_reply(struct session *s, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    reply_va(s, format, ap);
    va_end(ap);
}

void session_close(struct session *s, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    reply_va(s, format, ap);
    va_end(ap);
    s->closing = true;
}

void session_refuse(struct session *s, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    reply_va(s, format, ap);
    va_end(ap);
    if (++s->errors >= SMTP_ERRORS_MAX)
        session_close(s, "421 4.7.0 %s too many refused commands, closing", s->smtpd->worker->hostname);
}

void session_ask(struct session *s, const char *verb, json_t *ask, int timeout_ms, bus_reply_fn *done) {
    s->busy = true;
    s->ticket = bus_request(s->smtpd->worker->bus, verb, ask, timeout_ms, done, s);
}

static void cmd_reset(struct session *s, struct slice argument) {
    if (argument.n) {
        session_refuse(s, "501 5.5.4 RSET takes no argument");
        return;
    }
    transaction_reset(s);
    session_reply(s, "250 2.0.0 Ok");
}

static void command(struct session *s, struct slice line) {
    struct slice argument;
    enum smtp_verb verb = smtp_parse_verb(line, &argument);
    bool needs_hello = verb == SMTP_MAIL || verb == SMTP_RCPT || verb == SMTP_DATA ||
                       verb == SMTP_AUTH; /* BDAT refuses by itself: its chunk must be taken all the same */
    if (needs_hello && !s->helo) {
        session_refuse(s, "503 5.5.1 say EHLO first");
        return;
    }
    switch (verb) {
    case SMTP_EHLO: cmd_ehlo(s, argument, true); break;
    case SMTP_HELO: cmd_ehlo(s, argument, false); break;
    case SMTP_STARTTLS: cmd_starttls(s, argument); break;
    case SMTP_AUTH: cmd_auth(s, argument); break;
    case SMTP_MAIL: cmd_mail(s, argument); break;
    case SMTP_RCPT: cmd_rcpt(s, argument); break;
    case SMTP_DATA: cmd_data(s, argument); break;
    case SMTP_BDAT: cmd_bdat(s, argument); break;
    case SMTP_RSET: cmd_reset(s, argument); break;
    case SMTP_NOOP: session_reply(s, "250 2.0.0 Ok"); break;
    case SMTP_QUIT: session_close(s, "221 2.0.0 %s closing", s->smtpd->worker->hostname); break;
    case SMTP_VRFY:
        session_reply(s, "252 2.1.5 cannot VRFY, but will take mail for local users and try to deliver it");
        break; /* RFC 5321 §3.5.3, §7.3 */
    case SMTP_EXPN: session_refuse(s, "502 5.5.1 EXPN is not offered here"); break;
    case SMTP_HELP: session_reply(s, "214 2.0.0 see RFC 5321; this is Postbus"); break;
    case SMTP_UNKNOWN:
        session_refuse(s, "500 5.5.2 this is no command: commands are EHLO, MAIL, RCPT, DATA, BDAT, RSET, NOOP, QUIT, "
                          "STARTTLS, AUTH");
        break;
    }
}

/* Takes what the client sent, until a service must be asked or nothing whole is left. */
void session_continue(struct session *s) {
    struct slice line;
    while (!s->busy && !s->closing && stream_pending_output(s->stream) < SMTP_OUTPUT_MAX) {
        if (s->mode == MODE_DATA || s->mode == MODE_BDAT) {
            if (!data_take(s)) break;
            continue;
        }
        bool auth = s->mode != MODE_COMMAND;
        int got = stream_line(s->stream, auth ? SMTP_AUTH_LINE_MAX : SMTP_LINE_MAX, &line);
        if (got == 0) break;
        if (got < 0)
            session_refuse(s, "500 5.5.6 the line is too long");
        else if (auth)
            auth_line(s, line);
        else
            command(s, line);
    }
    if (service_is_draining() && !s->busy && !s->closing && s->mode == MODE_COMMAND && !s->t.has_from)
        session_close(s, "421 4.3.2 %s is restarting, try again", s->smtpd->worker->hostname);
    if (s->closing) {
        stream_finish(s->stream);
        s->stream = NULL;
        session_destroy(s);
    }
}

static void on_stream(void *ctx, struct stream *stream, enum stream_event event) {
    struct session *s = ctx;
    switch (event) {
    case STREAM_READABLE: session_continue(s); break;
    case STREAM_TLS_READY:
        if (stream_had_pipelined_before_tls(
                stream)) { /* RFC 3207 §4.2; a command put before TLS by somebody in between */
            log_warn("a client sent commands before TLS; closed", "client", stream_peer(stream), NULL);
            session_close(s, "554 5.5.1 commands were sent before TLS was ready, closing");
            session_continue(s);
        } else if (s->port == PORT_SUBMISSIONS) {
            session_reply(s, "220 %s ESMTP Postbus", s->smtpd->worker->hostname);
        }
        break;
    case STREAM_TIMEOUT:
        if (s->busy) break; /* it waits for us, not we for it */
        session_close(s, "421 4.4.2 %s nothing came for too long, closing", s->smtpd->worker->hostname);
        session_continue(s);
        break;
    case STREAM_CLOSED:
        log_debug("connection closed", "client", stream_peer(stream), "reason", stream_error(stream), NULL);
        session_destroy(s);
        break;
    case STREAM_DRAINED: session_continue(s); break; /* it may have stopped because the client did not read */
    case STREAM_CONNECTED: break;
    }
}

void session_accept(struct smtpd *d, evutil_socket_t fd, enum smtp_port port) {
    struct session *s = memory_alloc(sizeof *s);
    size_t same_client = 0;
    s->smtpd = d;
    s->port = port;
    s->t.arena = arena_create();
    s->stream = stream_accept(d->worker->base, fd, on_stream, s);
    for (struct session *other = d->sessions; other; other = other->next)
        same_client += other->stream && strcmp(stream_peer(other->stream), stream_peer(s->stream)) == 0;
    s->next = d->sessions;
    if (s->next) s->next->previous = s;
    d->sessions = s;
    d->count++;
    metric_add(&smtpd_connections, 1);
    stream_set_timeout(s->stream, SMTP_COMMAND_TIMEOUT_MS);
    if (d->count > SMTP_CONNECTIONS_MAX) {
        session_close(s, "421 4.3.2 %s has too many connections, try again later", d->worker->hostname);
    } else if (same_client >= d->per_client_max) {
        session_close(s, "421 4.7.0 %s too many connections from your address", d->worker->hostname);
    } else if (port == PORT_SUBMISSIONS) {
        stream_start_tls(s->stream, SSL_new(d->worker->tls), true);
        return;
    } else {
        session_reply(s, "220 %s ESMTP Postbus", d->worker->hostname);
        return;
    }
    session_continue(s);
}
