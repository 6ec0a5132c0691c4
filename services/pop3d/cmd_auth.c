/* Before login: CAPA, STLS, USER and PASS, AUTH (RFC 2449, 2595, 5034, 4616, 5802, 7677). Passwords are never
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
        stream_write(s->stream, SLICE("USER\r\nSASL PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n"));
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

static void wrong(struct session *s, const char *why) {
    metric_add(&failures, 1);
    log_info("login refused", "session", s->trace, "client", stream_peer(s->stream), NULL);
    if (++s->failures >= POP3_FAILURES_MAX)
        session_close(s, "[AUTH] too many failed logins");
    else
        session_err(s, "[AUTH] %s", why);
}

/* accounts did not say that the login is right. */
static void not_right(struct session *s, int error, const char *code) {
    if (error == BUS_REFUSED && strcmp(code, "denied") == 0) {
        wrong(s, "wrong name or password");
        return;
    }
    metric_add(&failures, 1);
    session_err(s, strcmp(code, "busy") == 0 ? "[SYS/TEMP] too many failed logins, try again later"
                                             : "[SYS/TEMP] logins are not possible now, try again later");
}

static void right(struct session *s, const char *user, const char *address, const char *generation) {
    if (logins_were_ended(s->pop3d->logins, user, s->login_asked_us)) {
        session_err(s, "[SYS/TEMP] the account was changed during the login, log in again");
        return;
    }
    memcpy(s->user, user, sizeof s->user);
    login_enter(s->pop3d->logins, &s->validity, &s->life, slice_of(user), slice_of(address), slice_of(generation));
    metric_add(&logins, 1);
    log_info("login", "session", s->trace, "user", s->user, "client", stream_peer(s->stream), "tls",
             stream_tls_version(s->stream), NULL);
    lock_take(s, maildrop_open);
}

static void on_login(void *ctx, int error, const json_t *reply) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    const char *user = json_string_value(json_object_get(reply, "user"));
    if (!error && user && ulid_is_valid(slice_of(user)))
        right(s, user, json_string_value(json_object_get(reply, "address")),
              json_string_value(json_object_get(reply, "generation")));
    else
        not_right(s, error, bus_error_code(reply));
}

static void log_in(struct session *s, struct slice name, struct slice password) {
    json_t *ask = json_pack("{s:s%, s:s%, s:s, s:s}", "login", name.p, name.n, "password", password.p, password.n,
                            "client_ip", stream_peer(s->stream), "protocol", "pop3");
    if (!ask || !name.n || !password.n) { /* not UTF-8: no account can have it */
        json_decref(ask);
        wrong(s, "wrong name or password");
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

/* accounts' answer to the present step of SCRAM. */
static void on_scram(void *ctx, int error, struct slice reply) {
    struct session *s = ctx;
    struct buf text = {0};
    if (!session_resume(s)) return;
    if (!error)
        error = s->scram_step == SCRAM_FIRST ? scram_challenge(&s->scram, reply, &text)
                                             : scram_end(&s->scram, reply, &text);
    if (error) {
        char code[BUS_CODE_BYTES];
        not_right(s, error, bus_error_code_text(reply, code));
    } else {
        s->scram_step++;
        s->expecting = EXPECT_SCRAM;
        stream_printf(s->stream, "+ %s\r\n", buf_str(&text));
    }
    buf_free(&text);
}

/* A message of SCRAM (RFC 5802 §5). */
static void take_scram(struct session *s, struct slice message) {
    int error = SCRAM_OK;
    if (s->scram_step == SCRAM_FIRST)
        error = scram_first(&s->scram, message, s->scram.plus, stream_ssl(s->stream));
    else if (s->scram_step == SCRAM_FINAL)
        error = scram_final(&s->scram, message);
    else if (message.n)
        error = SCRAM_MALFORMED;
    if (error) {
        wrong(s, error == SCRAM_NO_BINDING    ? "the channel binding does not fit this connection"
                 : error == SCRAM_NO_IDENTITY ? "authorization as another user is not supported"
                                              : "not a message of SCRAM");
    } else if (s->scram_step == SCRAM_LAST) {
        right(s, s->scram.user, s->scram.address, s->scram.generation);
    } else {
        bool first = s->scram_step == SCRAM_FIRST;
        struct buf ask = {0};
        struct json_put j = json_put_begin(&ask);
        (first ? scram_put_ask : scram_put_proof)(&s->scram, &j, stream_peer(s->stream), "pop3");
        session_wait(s);
        s->login_asked_us = clock_monotonic_us();
        bus_request_text(s->pop3d->worker->bus, first ? "accounts.scram.salt" : "accounts.scram.login", buf_slice(&ask),
                         POP3_LOGIN_WAIT_MS, on_scram, s);
        buf_free(&ask);
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
    } else if (expected == EXPECT_SCRAM) {
        take_scram(s, buf_slice(&text));
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
        stream_write(s->stream, has_tls(s) ? SLICE("PLAIN\r\nLOGIN\r\nSCRAM-SHA-256\r\nSCRAM-SHA-256-PLUS\r\n.\r\n")
                                           : SLICE(".\r\n"));
        return;
    }
    if (refuse_plain_text(s)) return;
    bool plain = slice_is_nocase(c->word[0], "PLAIN"), plus = slice_is_nocase(c->word[0], "SCRAM-SHA-256-PLUS"),
         scram = plus || slice_is_nocase(c->word[0], "SCRAM-SHA-256");
    if (!plain && !scram && !slice_is_nocase(c->word[0], "LOGIN")) {
        session_err(s, "[AUTH] unsupported mechanism");
        return;
    }
    s->expecting = plain ? EXPECT_PLAIN : scram ? EXPECT_SCRAM : EXPECT_LOGIN_NAME;
    scram_free(&s->scram);
    s->scram.plus = plus;
    s->scram_step = SCRAM_FIRST;
    if (c->count > 1)
        auth_line(s, c->word[1]);
    else
        stream_write(s->stream, plain || scram ? SLICE("+ \r\n") : SLICE("+ VXNlcm5hbWU6\r\n"));
}
