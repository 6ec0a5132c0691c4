/* The connection: greeting, input of commands with their literals, timeouts. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/ulid.h"
#include "services/imapd/imapd.h"

static struct metric connections = METRIC_COUNTER("postbus_imapd_connections_total", "IMAP connections accepted");
static struct metric open_sessions = METRIC_GAUGE("postbus_imapd_sessions", "IMAP sessions open now");

/* Called from the loop when the session has no pending waits. */
static void session_free(void *ctx) {
    struct session *s = ctx;
    struct imapd *i = s->imapd;
    session_release_job(s);
    login_leave(&s->validity);
    budget_give(&i->process->budget, &s->input_taken);
    arena_destroy(s->arena);
    buf_free(&s->input);
    buf_free(&s->out);
    buf_free(&s->tagged);
    session_telling_end(s);
    if (s->follower) s->follower->end(s);
    view_close(&s->view);
    free(s->saved);
    free(s->address);
    free(s);
    i->session_count--;
    metric_add(&open_sessions, -1);
    if (!i->session_count && service_is_draining()) service_drained(i->worker);
}

/* Time */

static void command_ended(struct session *s) { s->command_since_us = s->command_more_us = 0; }

/* Whether the client has sent part of a command, or of a line for the running command. */
static bool is_within_command(const struct session *s) {
    if (s->running) return s->on_line && stream_pending_input(s->stream);
    return s->input.n || s->literal_left || s->literal_refused || stream_pending_input(s->stream);
}

static void watch_command(struct session *s) {
    if (!is_within_command(s))
        command_ended(s);
    else if (!s->command_since_us)
        s->command_since_us = clock_monotonic_us();
}

void sessions_check_time(struct imapd *i) {
    const struct imapd_process *p = i->process;
    int64_t now = clock_monotonic_us();
    for (struct session *s = i->sessions, *next; s; s = next) {
        next = s->next;
        if (s->state < SESSION_AUTHENTICATED && now - s->accepted_us > p->login_us)
            session_bye(s, "Too long without a login");
        else if (s->command_since_us && now - s->command_since_us > p->command_us + s->command_more_us)
            session_bye(s, "The command takes too long to arrive");
        else
            stream_rest(s->stream);
    }
}

/* Input */

/* Whether the command so far is APPEND or REPLACE of a logged-in user: only then may a literal be
 * large. */
static bool is_append(struct session *s) {
    struct parser p = {s->input.data, s->input.data + s->input.n, NULL};
    struct slice tag;
    if (s->state < SESSION_AUTHENTICATED || !parse_tag(&p, &tag) || !parse_space(&p)) return false;
    if (parse_word(&p, "APPEND")) return true;
    if (parse_word(&p, "UID")) parse_space(&p);
    return s->state == SESSION_SELECTED && parse_word(&p, "REPLACE");
}

static void remember_tag(struct session *s) {
    struct parser p = {s->input.data, s->input.data + s->input.n, NULL};
    if (!parse_tag(&p, &s->tag)) s->tag = SLICE("*");
}

/* Answers and drops a command that cannot be read completely. */
static void refuse_input(struct session *s, const char *answer) {
    command_ended(s);
    remember_tag(s);
    buf_printf(&s->out, "%.*s %s\r\n", SLICE_FMT(s->tag), answer);
    session_flush(s);
    buf_reset(&s->input);
    budget_give(&s->imapd->process->budget, &s->input_taken);
    if (answer[0] == 'B' && ++s->bad_commands >= LIMIT_BAD_COMMANDS) session_bye(s, "Too many bad commands");
}

/* Room in the process's memory for a command of n bytes, instead of what it had. */
static bool take_room(struct session *s, size_t n) {
    struct budget *b = &s->imapd->process->budget;
    budget_give(b, &s->input_taken);
    return budget_take(b, n, &s->input_taken);
}

/* A literal follows this line: sends "+" if the client waits, and decides whether to store its
 * bytes. */
static void begin_literal(struct session *s, const struct literal *literal) {
    bool append = is_append(s);
    const char *refusal = NULL;
    if (append                             ? literal->size > LIMIT_APPEND
        : s->state < SESSION_AUTHENTICATED ? literal->size > LIMIT_LOGIN_LITERAL
                                           : literal->size > LIMIT_COMMAND)
        refusal = append ? "NO [TOOBIG] Message exceeds the size limit" : "BAD [TOOBIG] Literal too long";
    else if (s->input.n + literal->size > (append ? (size_t)LIMIT_APPEND + LIMIT_COMMAND : (size_t)LIMIT_COMMAND))
        refusal = append ? "NO [TOOBIG] Message exceeds the size limit" : "BAD [TOOBIG] Command too long";
    else if (!take_room(s, s->input.n + (size_t)literal->size))
        refusal = "NO [LIMIT] Too many large messages are on their way; try again later";
    if (refusal && !literal->plus) {
        refuse_input(s, refusal);
        return;
    }
    s->literal_left = literal->size;
    s->command_more_us += (int64_t)(literal->size / (uint64_t)s->imapd->process->rate_min) * 1000000;
    s->literal_refused = refusal != NULL;
    s->refusal = refusal;
    if (!literal->plus) session_plus(s, "Ready for the literal");
    if (!s->literal_refused) buf_reserve(&s->input, (size_t)literal->size);
}

static bool take_literal(struct session *s) {
    struct slice bytes = stream_bytes(s->stream, s->literal_left > SIZE_MAX ? SIZE_MAX : (size_t)s->literal_left);
    if (!bytes.n) return false;
    if (!s->literal_refused) buf_add_slice(&s->input, bytes);
    s->literal_left -= bytes.n;
    stream_consume(s->stream, bytes.n);
    return true;
}

/* Adds a line to the command. True when the command is complete. */
static bool take_line(struct session *s) {
    struct slice line;
    struct literal literal;
    int got = stream_line(s->stream, LIMIT_LINE, &line);
    if (got == 0) return false;
    if (s->literal_refused) { /* the line after a refused literal, which may announce another */
        if (got > 0 && literal_announced(line, &literal) && literal.plus) {
            s->literal_left = literal.size;
            return true;
        }
        s->literal_refused = false;
        refuse_input(s, s->refusal);
        return true;
    }
    if (got < 0) {
        refuse_input(s, "BAD [TOOBIG] Line too long");
        return true;
    }
    if (s->input.n + line.n > (is_append(s) ? (size_t)LIMIT_APPEND + 2 * LIMIT_COMMAND : (size_t)LIMIT_COMMAND)) {
        refuse_input(s, "BAD [TOOBIG] Command too long");
        return true;
    }
    buf_add_slice(&s->input, line);
    if (literal_announced(line, &literal)) {
        buf_add_str(&s->input, "\r\n");
        begin_literal(s, &literal);
        return true;
    }
    command_ended(s);
    dispatch(s);
    return true;
}

/* Reads the available input, command by command. */
static void take_input(struct session *s) {
    while (s->stream && s->state != SESSION_STARTING) {
        if (s->running) {
            struct slice line;
            if (!s->on_line) break;
            int got = stream_line(s->stream, LIMIT_LINE, &line);
            if (got == 0) break;
            command_ended(s);
            s->on_line(s, got < 0 ? SLICE("") : line);
        } else if (s->literal_left) {
            if (!take_literal(s)) break;
        } else if (!take_line(s)) {
            break;
        }
    }
}

/* The session continues here after every event. */
static void session_run(void *ctx) {
    struct session *s = ctx;
    if (s->validity.ended) {
        log_info("session ended: the password was changed or the account was deleted", "session", s->trace, "user",
                 s->user ? s->user->id : "", NULL);
        session_bye(s, "The password was changed or the account was deleted; log in again");
        return;
    }
    if (s->drained) {
        s->drained = false;
        if (s->on_drained) s->on_drained(s);
    }
    take_input(s);
    if (s->stream && s->idling && s->state == SESSION_SELECTED && !s->telling) session_tell(s, false, true, NULL);
    if (s->stream) watch_command(s);
}

static void greet(struct session *s) {
    s->state = SESSION_NOT_AUTHENTICATED;
    buf_add_str(&s->out, "* OK [CAPABILITY ");
    session_capability(s, &s->out);
    buf_printf(&s->out, "] %s Postbus ready\r\n", s->imapd->worker->hostname);
    session_flush(s);
}

static void on_stream(void *ctx, struct stream *stream, enum stream_event event) {
    struct session *s = ctx;
    switch (event) {
    case STREAM_TLS_READY:
        s->tls = true;
        log_debug("TLS", "session", s->trace, "version", stream_tls_version(stream), "cipher",
                  stream_tls_cipher(stream), NULL);
        if (s->implicit_tls && s->state == SESSION_STARTING) greet(s);
        break;
    case STREAM_READABLE: break;
    case STREAM_DRAINED: s->drained = true; break;
    case STREAM_TIMEOUT:
        if (s->running && s->life.holds) break; /* the delay is on our side */
        session_bye(s, "Autologout; idle for too long");
        break;
    case STREAM_CLOSED:
        log_debug("closed", "session", s->trace, "reason", stream_error(stream), NULL);
        session_cut(s);
        break;
    case STREAM_CONNECTED: break;
    }
    life_wake(&s->life);
}

void session_accept(struct imapd *i, evutil_socket_t fd, const struct sockaddr *client, bool implicit_tls) {
    struct session *s = memory_alloc(sizeof *s);
    metric_add(&connections, 1);
    metric_add(&open_sessions, 1);
    s->imapd = i;
    s->implicit_tls = implicit_tls;
    s->arena = arena_create();
    s->accepted_us = clock_monotonic_us();
    ulid_create(s->trace);
    s->next = i->sessions;
    if (s->next) s->next->previous = s;
    i->sessions = s;
    i->session_count++;
    life_start(&s->life, i->worker->base, session_run, session_free, s);
    s->stream = stream_accept(i->worker->base, fd, client, on_stream, s);
    stream_keep_alive(s->stream);
    stream_set_timeout(s->stream, LIMIT_PRE_LOGIN_MS);
    log_debug("connection", "session", s->trace, "peer", stream_peer(s->stream), NULL);
    if (i->session_count > LIMIT_SESSIONS_PER_WORKER)
        session_bye(s, "[UNAVAILABLE] Too many connections");
    else if (!(s->counted = clients_enter(i->process->clients, stream_peer(s->stream))))
        session_bye(s, "[UNAVAILABLE] Too many connections from your network that have not logged in");
    else if (implicit_tls)
        stream_start_tls(s->stream, SSL_new(i->worker->tls), true);
    else
        greet(s);
}
