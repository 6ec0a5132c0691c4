/* A connection: greeting, the order of commands and of their replies (RFC 2920 §3.2). Only
 * session_run() executes it, from the loop: input, answers and the timer wake it. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/smtpd/smtpd.h"

/* Commands */

static void cmd_reset(struct session *s, struct slice argument) {
    if (argument.n) {
        session_refuse(s, "501 5.5.4 Syntax: RSET");
        return;
    }
    transaction_reset(s);
    session_reply(s, "250 2.0.0 OK");
}

static void command(struct session *s, enum smtp_verb verb, struct slice argument) {
    bool needs_hello = verb == SMTP_MAIL || verb == SMTP_RCPT || verb == SMTP_DATA ||
                       verb == SMTP_AUTH; /* BDAT refuses in its own function, because its chunk
                                             must be read in any case */
    if (needs_hello && !s->helo) {
        session_refuse(s, "503 5.5.1 Send EHLO first");
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
    case SMTP_NOOP: session_reply(s, "250 2.0.0 OK"); break;
    case SMTP_QUIT: session_close(s, "221 2.0.0 %s Closing connection", s->smtpd->worker->hostname); break;
    case SMTP_VRFY: /* RFC 5321 §3.5.3, §7.3 */
        session_reply(s, "252 2.1.5 Cannot verify the user, but will accept the message and attempt delivery");
        break;
    case SMTP_EXPN: session_refuse(s, "502 5.5.1 EXPN is not implemented"); break;
    case SMTP_HELP: session_reply(s, "214 2.0.0 This is Postbus; see RFC 5321 for the commands"); break;
    case SMTP_UNKNOWN: session_refuse(s, "500 5.5.2 Unknown command"); break;
    }
}

/* The next line: 1, 0 when none is there, -1 when it is too long. */
static int next_line(struct session *s, struct slice *line) {
    if (s->parked_kind != PARKED_NONE) {
        *line = buf_slice(&s->parked);
        return s->parked_kind == PARKED_LINE ? 1 : -1;
    }
    return stream_line(s->stream, s->mode == MODE_COMMAND ? SMTP_LINE_MAX : SMTP_AUTH_LINE_MAX, line);
}

/* Only RCPT commands are read while others are pending: the reply to any other command depends on
 * theirs. */
static void park(struct session *s, int got, struct slice line) {
    if (s->parked_kind != PARKED_NONE) return;
    if (got > 0) buf_add_slice(&s->parked, line);
    s->parked_kind = got > 0 ? PARKED_LINE : PARKED_TOO_LONG;
}

static bool take_line(struct session *s) {
    struct slice line, argument;
    enum smtp_verb verb = SMTP_UNKNOWN;
    if (s->pending_count >= SMTP_RCPTS_AT_ONCE) return false;
    int got = next_line(s, &line);
    if (got == 0) return false;
    if (got > 0 && s->mode == MODE_COMMAND) verb = smtp_parse_verb(line, &argument);
    if (s->pending && verb != SMTP_RCPT) {
        park(s, got, line);
        return false;
    }
    if (got < 0)
        session_refuse(s, "500 5.5.6 Line too long");
    else if (s->mode != MODE_COMMAND)
        auth_line(s, line);
    else
        command(s, verb, argument);
    s->parked_kind = PARKED_NONE;
    buf_reset(&s->parked);
    return true;
}

/* The loop */

static void greet(struct session *s) { session_reply(s, "220 %s ESMTP Postbus", s->smtpd->worker->hostname); }

static void on_tls_ready(struct session *s) {
    s->tls_ready = false;
    if (stream_had_pipelined_before_tls(s->stream)) {
        /* RFC 3207 §4.2; an attacker on the network may have inserted a command before TLS */
        log_warn("a client sent commands before TLS; closed", "client", s->ip, NULL);
        session_close(s, "554 5.5.1 Commands were sent before TLS was ready, closing connection");
    } else if (s->port == PORT_SUBMISSIONS) {
        greet(s);
    }
}

static bool is_busy(const struct session *s) { return s->then || s->commit || s->pending; }

/* Does the next step; false: there is nothing to do until the session is woken again. */
static bool step(struct session *s) {
    if (!s->closing && s->tls_ready) on_tls_ready(s);
    if (s->closing) return false;
    if (s->then) {
        if (!stage_step(&s->checking)) return false;
        stage_done_fn *then = s->then;
        s->then = NULL;
        session_keep_verdict(s, &s->checking);
        then(s, &s->checking.verdict);
    } else if (s->commit) {
        if (!commit_step(s)) return false;
    } else if (s->validity.ended) {
        session_close(s, "421 4.7.0 %s The account has changed, log in again", s->smtpd->worker->hostname);
        return false;
    } else {
        if (s->pending) rcpts_step(s);
        if (s->closing || stream_pending_output(s->stream) >= SMTP_OUTPUT_MAX) return false;
        if (s->mode == MODE_DATA || s->mode == MODE_BDAT ? !data_take(s) : !take_line(s)) return false;
    }
    s->since_us = clock_monotonic_us();
    return true;
}

static void session_run(void *ctx) {
    struct session *s = ctx;
    stream_cork(s->stream);
    while (step(s)) {
    }
    if (service_is_draining() && !is_busy(s) && !s->closing && s->mode != MODE_DATA && s->mode != MODE_BDAT)
        session_close(s, "421 4.3.2 %s Service is restarting, try again", s->smtpd->worker->hostname);
    bool was_full = stream_pending_output(s->stream) >= SMTP_OUTPUT_MAX;
    stream_uncork(s->stream);
    if (was_full && stream_pending_output(s->stream) < SMTP_OUTPUT_MAX) life_wake(&s->life);
    if (s->closing)
        session_end(s);
    else
        deadline_update(s);
}

/* Beginning and end */

void smtpd_free(struct smtpd *d) {
    if (d->count || !d->stopping) return;
    deliverer_destroy(d->deliverer);
    free(d->srs_secret);
    free(d);
}

/* Called when nothing holds the session any more. */
static void session_free(void *ctx) {
    struct session *s = ctx;
    struct smtpd *d = s->smtpd;
    event_free(s->clock);
    login_leave(&s->validity);
    transaction_reset(s);
    atomic_fetch_sub(&d->process->memory, s->t.memory);
    buf_free(&s->t.text);
    arena_destroy(s->t.arena);
    rcpts_free(s);
    buf_free(&s->parked);
    free(s->helo);
    free(s->user);
    free(s->login);
    if (s->previous)
        s->previous->next = s->next;
    else
        d->sessions = s->next;
    if (s->next) s->next->previous = s->previous;
    free(s);
    d->count--;
    metric_add(&smtpd_connections, -1);
    if (d->stopping)
        smtpd_free(d);
    else if (service_is_draining() && d->count == 0)
        service_drained(d->worker);
}

void session_end(struct session *s) {
    if (life_has_ended(&s->life)) return;
    if (s->stream && s->closing)
        stream_finish(s->stream);
    else if (s->stream)
        stream_destroy(s->stream);
    s->stream = NULL;
    event_del(s->clock);
    if (s->auth_password.data) sodium_memzero(s->auth_password.data, s->auth_password.cap);
    buf_free(&s->auth_user);
    buf_free(&s->auth_password);
    scram_free(&s->scram);
    buf_free(&s->scram_answer);
    if (s->counted) clients_leave(s->smtpd->process->clients, s->ip);
    s->counted = false;
    if (s->t.written) body_release(s->t.written, NULL, NULL); /* its checks are not continued */
    s->t.written = NULL;
    life_end(&s->life);
}

static void on_stream(void *ctx, struct stream *stream, enum stream_event event) {
    struct session *s = ctx;
    if (event == STREAM_CLOSED) {
        log_debug("connection closed", "client", s->ip, "reason", stream_error(stream), NULL);
        session_end(s);
        return;
    }
    if (event == STREAM_TLS_READY) s->tls_ready = true;
    life_wake(&s->life);
}

void check_connections(struct checking *c) {
    struct session *s = c->session;
    const char *hostname = s->smtpd->worker->hostname;
    if (s->smtpd->count > SMTP_CONNECTIONS_MAX)
        check_reject(c, 421, "4.3.2", "%s Too many connections, try again later", hostname);
    else if (!(s->counted = clients_enter(s->smtpd->process->clients, s->ip)))
        check_reject(c, 421, "4.7.0", "%s Too many connections from your address", hostname);
}

static void connect_done(struct session *s, const struct verdict *v) {
    if (v->code)
        session_close(s, "%d %s %s", v->code, v->enhanced, v->text);
    else if (s->port == PORT_SUBMISSIONS)
        stream_start_tls(s->stream, SSL_new(s->smtpd->worker->tls), true);
    else
        greet(s);
}

void session_accept(struct smtpd *d, evutil_socket_t fd, const struct sockaddr *client, enum smtp_port port) {
    struct session *s = memory_alloc(sizeof *s);
    s->smtpd = d;
    s->port = port;
    s->t.arena = arena_create();
    life_start(&s->life, d->worker->base, session_run, session_free, s);
    s->stream = stream_accept(d->worker->base, fd, client, on_stream, s);
    snprintf(s->ip, sizeof s->ip, "%s", stream_peer(s->stream));
    s->ip_port = stream_peer_port(s->stream);
    s->next = d->sessions;
    if (s->next) s->next->previous = s;
    d->sessions = s;
    d->count++;
    metric_add(&smtpd_connections, 1);
    deadline_start(s);
    session_check(s, STAGE_CONNECT, connect_done);
    life_wake(&s->life);
}
