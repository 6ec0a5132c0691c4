/* The connection: greeting, then commands one after the other. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/pop3d/pop3d.h"

static struct metric connections = METRIC_COUNTER("postbus_pop3d_connections_total", "POP3 connections accepted");
static struct metric open_sessions = METRIC_GAUGE("postbus_pop3d_sessions", "POP3 sessions open now");

/* Called from the loop when the session has no pending waits. */
static void session_free(void *ctx) {
    struct session *s = ctx;
    struct pop3d *p = s->pop3d;
    if (s->previous)
        s->previous->next = s->next;
    else
        p->sessions = s->next;
    if (s->next) s->next->previous = s->previous;
    p->count--;
    metric_add(&open_sessions, -1);
    lock_release(s);
    login_leave(&s->validity);
    free(s->name);
    scram_free(&s->scram);
    free(s->drops);
    free(s);
    if (p->count == 0 && service_is_draining()) service_drained(p->worker);
}

/* Refuses a command that is invalid here. */
static void refuse(struct session *s, const char *why) {
    if (++s->bad >= POP3_BAD_MAX)
        session_close(s, "too many bad commands");
    else
        session_err(s, "%s", why);
}

static void run_before_login(struct session *s, const struct pop3_command *c) {
    switch (c->verb) {
    case POP3_STLS: cmd_stls(s); return;
    case POP3_USER: cmd_user(s, c); return;
    case POP3_PASS: cmd_pass(s, c); return;
    case POP3_AUTH: cmd_auth(s, c); return;
    case POP3_UTF8:
        session_ok(s, "UTF-8 enabled");
        return; /* RFC 6856 §2: messages are sent
                   unchanged in any case */
    case POP3_UNKNOWN: refuse(s, "unknown command"); return;
    default: refuse(s, "log in first"); return;
    }
}

static void run_after_login(struct session *s, const struct pop3_command *c) {
    switch (c->verb) {
    case POP3_STAT: cmd_stat(s); return;
    case POP3_LIST: cmd_list(s, c); return;
    case POP3_UIDL: cmd_uidl(s, c); return;
    case POP3_RETR: cmd_retr(s, c); return;
    case POP3_TOP: cmd_top(s, c); return;
    case POP3_DELE: cmd_dele(s, c); return;
    case POP3_RSET: cmd_rset(s); return;
    case POP3_NOOP: session_ok(s, "%s", ""); return;
    case POP3_UNKNOWN: refuse(s, "unknown command"); return;
    default: refuse(s, "already logged in"); return;
    }
}

static void run(struct session *s, struct slice line) {
    struct pop3_command c;
    pop3_parse(line, &c);
    if (c.verb == POP3_CAPA)
        cmd_capa(s);
    else if (c.verb == POP3_LANG)
        cmd_lang(s, &c);
    else if (c.verb == POP3_QUIT && s->state == POP3_TRANSACTION)
        maildrop_quit(s);
    else if (c.verb == POP3_QUIT)
        session_ok(s, "bye"), session_close(s, NULL);
    else if (s->state == POP3_AUTHORIZATION)
        run_before_login(s, &c);
    else
        run_after_login(s, &c);
}

/* Reads the waiting commands. */
static void take_input(struct session *s) {
    struct slice line;
    int got;
    while (s->stream && !s->waiting && stream_pending_output(s->stream) < POP3_OUTPUT_MAX &&
           (got = stream_line(s->stream, POP3_LINE_MAX, &line)) != 0) {
        s->command_since_us = 0;
        if (got < 0) {
            s->expecting = EXPECT_COMMAND;
            refuse(s, "line too long");
        } else if (s->expecting != EXPECT_COMMAND) {
            auth_line(s, line);
        } else {
            run(s, line);
        }
    }
}

/* Bounds the time of a line that has begun. */
static void watch_command(struct session *s) {
    if (!stream_pending_input(s->stream))
        s->command_since_us = 0;
    else if (!s->command_since_us && !s->waiting && stream_pending_output(s->stream) < POP3_OUTPUT_MAX)
        s->command_since_us = clock_monotonic_us();
}

/* The session continues here after every event. */
static void session_run(void *ctx) {
    struct session *s = ctx;
    if (s->validity.ended) {
        log_info("session ended: the password was changed or the account was deleted", "session", s->trace, "user",
                 s->user, NULL);
        session_close(s, "[AUTH] the password was changed or the account was deleted, log in again");
        return;
    }
    take_input(s);
    if (s->stream && !s->waiting && service_is_draining())
        session_close(s, "[SYS/TEMP] the server is shutting down, try again later");
    if (s->stream) watch_command(s);
}

static void greet(struct session *s) { session_ok(s, "%s Postbus POP3 ready", s->pop3d->worker->hostname); }

static void on_stream(void *ctx, struct stream *stream, enum stream_event event) {
    struct session *s = ctx;
    switch (event) {
    case STREAM_READABLE:
    case STREAM_DRAINED: break;
    case STREAM_TLS_READY:
        if (s->state == POP3_AUTHORIZATION && s->bad < 0) { /* implicit TLS: the greeting waited for
                                                               it */
            s->bad = 0;
            greet(s);
        }
        break;
    case STREAM_TIMEOUT: session_close(s, "[SYS/TEMP] too long without a command"); break;
    case STREAM_CLOSED:
        log_debug("connection closed", "session", s->trace, "reason", stream_error(stream), NULL);
        session_cut(s);
        break;
    case STREAM_CONNECTED: break;
    }
    life_wake(&s->life);
}

void session_accept(struct pop3d *p, evutil_socket_t fd, const struct sockaddr *client, bool implicit_tls) {
    struct session *s = memory_alloc(sizeof *s);
    s->pop3d = p;
    s->accepted_us = clock_monotonic_us();
    life_start(&s->life, p->worker->base, session_run, session_free, s);
    s->stream = stream_accept(p->worker->base, fd, client, on_stream, s);
    s->next = p->sessions;
    if (s->next) s->next->previous = s;
    p->sessions = s;
    p->count++;
    ulid_create(s->trace);
    metric_add(&connections, 1);
    metric_add(&open_sessions, 1);
    stream_keep_alive(s->stream);
    stream_set_timeout(s->stream, POP3_LOGIN_TIMEOUT_MS);
    log_debug("connection", "session", s->trace, "peer", stream_peer(s->stream), NULL);
    if (p->count > POP3_SESSIONS_MAX) {
        session_close(s, "[SYS/TEMP] too many connections, try again later");
    } else if (!(s->counted = clients_enter(p->process->clients, stream_peer(s->stream)))) {
        session_close(s, "[SYS/TEMP] too many connections from your network that have not logged in");
    } else if (implicit_tls) {
        s->bad = -1;
        stream_start_tls(s->stream, SSL_new(p->worker->tls), true);
    } else {
        greet(s);
    }
}
