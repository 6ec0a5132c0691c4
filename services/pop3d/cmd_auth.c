/* Before login: CAPA, STLS, USER and PASS, AUTH (RFC 2449, 2595, 5034, 4616). Passwords are never
 * accepted in plain text, from any address. */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/pop3d/pop3d.h"

static struct metric logins = METRIC_COUNTER("postbus_pop3d_logins_total", "POP3 logins");
static struct metric failures = METRIC_COUNTER("postbus_pop3d_login_failures_total", "POP3 logins refused");

static bool has_tls(const struct session *s) { return stream_ssl(s->stream) != NULL; }

void cmd_capa(struct session *s) {
    session_ok(s, "Capability list follows");
    stream_write(
        s->stream,
        SLICE("TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUTF8 USER\r\nLANG\r\nEXPIRE NEVER\r\n"));
    if (!has_tls(s))
        stream_write(s->stream, SLICE("STLS\r\n"));
    else
        stream_write(s->stream, SLICE("USER\r\nSASL PLAIN LOGIN\r\n"));
    stream_write(s->stream, SLICE("IMPLEMENTATION Postbus\r\n.\r\n"));
}

void cmd_stls(struct session *s) {
    if (has_tls(s)) {
        session_err(s, "TLS is already active");
        return;
    }
    session_ok(s, "begin TLS");
    free(s->name); /* earlier commands are void (RFC 2595 §4) */
    s->name = NULL;
    stream_start_tls(s->stream, SSL_new(s->pop3d->worker->tls), true);
}

static bool refuse_plain_text(struct session *s) {
    if (has_tls(s)) return false;
    session_err(s, "[SYS/PERM] begin TLS first (STLS, or port 995)");
    return true;
}

static void on_login(void *ctx, int error, const json_t *reply) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    const char *user = json_string_value(json_object_get(reply, "user"));
    if (!error && user && logins_were_ended(s->pop3d->logins, user, s->login_asked_us)) {
        session_err(s, "[SYS/TEMP] the account was changed during the login, log in again");
        return;
    }
    if (!error && user && ulid_is_valid(slice_of(user))) {
        memcpy(s->user, user, sizeof s->user);
        login_enter(s->pop3d->logins, &s->validity, &s->life, slice_of(user),
                    slice_of(json_string_value(json_object_get(reply, "address"))),
                    slice_of(json_string_value(json_object_get(reply, "generation"))));
        metric_add(&logins, 1);
        log_info("login", "session", s->trace, "user", s->user, "client", stream_peer(s->stream), "tls",
                 stream_tls_version(s->stream), NULL);
        lock_take(s, maildrop_open);
        return;
    }
    metric_add(&failures, 1);
    if (error == BUS_REFUSED && strcmp(bus_error_code(reply), "denied") == 0) {
        log_info("login refused", "session", s->trace, "client", stream_peer(s->stream), NULL);
        if (++s->failures >= POP3_FAILURES_MAX)
            session_close(s, "[AUTH] too many failed logins");
        else
            session_err(s, "[AUTH] wrong name or password");
    } else if (strcmp(bus_error_code(reply), "busy") == 0) {
        session_err(s, "[SYS/TEMP] too many failed logins, try again later");
    } else {
        session_err(s, "[SYS/TEMP] logins are not possible now, try again later");
    }
}

static void log_in(struct session *s, struct slice name, struct slice password) {
    json_t *ask = json_pack("{s:s%, s:s%, s:s, s:s}", "login", name.p, name.n, "password", password.p, password.n,
                            "client_ip", stream_peer(s->stream), "protocol", "pop3");
    if (!ask || !name.n || !password.n) { /* not UTF-8: no account can have it */
        json_decref(ask);
        metric_add(&failures, 1);
        if (++s->failures >= POP3_FAILURES_MAX)
            session_close(s, "[AUTH] too many failed logins");
        else
            session_err(s, "[AUTH] wrong name or password");
        return;
    }
    session_wait(s);
    s->login_asked_us = clock_monotonic_us();
    bus_request(s->pop3d->worker->bus, "accounts.login", ask, POP3_LOGIN_WAIT_MS, on_login, s);
}

void cmd_user(struct session *s, const struct pop3_command *c) {
    if (refuse_plain_text(s)) return;
    if (c->text.n == 0) {
        session_err(s, "USER requires a name");
        return;
    }
    free(s->name);
    s->name = memory_copy(c->text);
    session_ok(s, "send the password");
}

void cmd_pass(struct session *s, const struct pop3_command *c) {
    if (refuse_plain_text(s)) return;
    if (!s->name) {
        session_err(s, "USER is required first");
        return;
    }
    log_in(s, slice_of(s->name), c->text);
    free(s->name);
    s->name = NULL;
}

/* authorization-identity NUL name NUL password (RFC 4616 §2); authorization as another user is not
 * supported. */
static void take_plain(struct session *s, struct slice text) {
    struct slice identity, name;
    if (!slice_cut(&text, '\0', &identity) || !slice_cut(&text, '\0', &name) || slice_find(text, '\0') >= 0) {
        session_err(s, "[AUTH] malformed credentials");
    } else if (identity.n && !slice_equal(identity, name)) {
        session_err(s, "[AUTH] authorization as another user is not supported");
    } else {
        log_in(s, name, text);
    }
}

void auth_line(struct session *s, struct slice line) {
    enum expecting expected = s->expecting;
    struct buf text = {0};
    s->expecting = EXPECT_COMMAND;
    if (slice_is(line, "*")) {
        session_err(s, "[AUTH] cancelled");
    } else if (base64_decode(slice_is(line, "=") ? SLICE("") : line, false, &text) != 0) {
        session_err(s, "[AUTH] invalid base64");
    } else if (expected == EXPECT_PLAIN) {
        take_plain(s, buf_slice(&text));
    } else if (expected == EXPECT_LOGIN_NAME) {
        free(s->name);
        s->name = memory_copy(buf_slice(&text));
        s->expecting = EXPECT_LOGIN_PASSWORD;
        stream_write(s->stream, SLICE("+ UGFzc3dvcmQ6\r\n"));
    } else {
        log_in(s, slice_of(s->name), buf_slice(&text));
        free(s->name);
        s->name = NULL;
    }
    if (text.data) OPENSSL_cleanse(text.data, text.cap);
    buf_free(&text);
}

void cmd_auth(struct session *s, const struct pop3_command *c) {
    if (c->count == 0) { /* lists the mechanisms (RFC 1734) */
        session_ok(s, "mechanisms follow");
        stream_write(s->stream, has_tls(s) ? SLICE("PLAIN\r\nLOGIN\r\n.\r\n") : SLICE(".\r\n"));
        return;
    }
    if (refuse_plain_text(s)) return;
    bool plain = slice_is_nocase(c->word[0], "PLAIN");
    if (!plain && !slice_is_nocase(c->word[0], "LOGIN")) {
        session_err(s, "[AUTH] unsupported mechanism");
        return;
    }
    s->expecting = plain ? EXPECT_PLAIN : EXPECT_LOGIN_NAME;
    if (c->count > 1)
        auth_line(s, c->word[1]);
    else
        stream_write(s->stream, plain ? SLICE("+ \r\n") : SLICE("+ VXNlcm5hbWU6\r\n"));
}
