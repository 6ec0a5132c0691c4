/* STARTTLS, LOGIN, AUTHENTICATE PLAIN and LOGIN (RFC 9051 §6.2, RFC 4616, SASL-IR RFC 4959). A
 * password is accepted only over TLS. */
#include <sodium.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/imapd/imapd.h"

static struct metric logins = METRIC_COUNTER("postbus_imapd_logins_total", "Logins that succeeded");
static struct metric login_failures =
    METRIC_COUNTER("postbus_imapd_login_failures_total", "Logins refused for a wrong name or password");

struct authentication {
    enum { AUTH_PLAIN, AUTH_LOGIN_NAME, AUTH_LOGIN_PASSWORD } step;
    struct slice name;
};

void cmd_starttls(struct session *s, struct parser *p) {
    (void)p;
    if (s->tls || s->implicit_tls) {
        session_bad(s, "TLS is already active");
        return;
    }
    s->implicit_tls = true; /* the connection uses TLS from here on */
    buf_printf(&s->out, "%.*s OK Begin TLS now\r\n", SLICE_FMT(s->tag));
    session_flush(s);
    buf_reset(&s->input);
    arena_reset(s->arena);
    s->running = false;
    stream_start_tls(s->stream, SSL_new(s->imapd->worker->tls), true);
}

static void refuse(struct session *s) {
    metric_add(&login_failures, 1);
    log_info("login refused", "session", s->trace, "client", stream_peer(s->stream), NULL);
    if (++s->login_failures >= LIMIT_LOGIN_FAILURES) {
        buf_printf(&s->out, "%.*s NO [AUTHENTICATIONFAILED] Wrong name or password\r\n", SLICE_FMT(s->tag));
        session_bye(s, "Too many failed logins");
        return;
    }
    session_no(s, "[AUTHENTICATIONFAILED] Wrong name or password");
}

static void on_login(void *ctx, int error, const json_t *reply) {
    struct session *s = ctx;
    s->login_ticket = 0;
    if (!session_resume(s)) return;
    struct slice code = slice_of(bus_error_code(reply));
    const char *user = json_string_value(json_object_get(reply, "user")),
               *address = json_string_value(json_object_get(reply, "address"));
    if (error == BUS_REFUSED && slice_is(code, "denied")) {
        refuse(s);
        return;
    }
    if (error || !user || !address) {
        session_no(s, slice_is(code, "busy") ? "[UNAVAILABLE] Too many attempts; try again later"
                                             : "[UNAVAILABLE] Logins cannot be checked now; try again later");
        return;
    }
    if (logins_were_ended(s->imapd->logins, user, s->login_asked_us)) {
        session_no(s, "[UNAVAILABLE] The account was changed during the login; log in again");
        return;
    }
    if (!user_join(s, slice_of(user))) {
        session_no(s, "[LIMIT] Too many sessions for this user");
        return;
    }
    metric_add(&logins, 1);
    s->address = memory_copy(slice_of(address));
    login_enter(s->imapd->logins, &s->validity, &s->life, slice_of(user), slice_of(address),
                slice_of(json_string_value(json_object_get(reply, "generation"))));
    s->state = SESSION_AUTHENTICATED;
    s->login_failures = 0;
    session_logged_in(s);
    log_info("login", "session", s->trace, "user", user, "address", address, "client", stream_peer(s->stream), "tls",
             stream_tls_version(s->stream), NULL);
    struct buf capability = {0};
    session_capability(s, &capability);
    session_ok(s, "[CAPABILITY %s] Logged in", buf_str(&capability));
    buf_free(&capability);
}

static void check_login(struct session *s, struct slice name, struct slice password) {
    json_t *ask = json_pack("{s:s%, s:s%, s:s, s:s}", "login", name.p, name.n, "password", password.p, password.n,
                            "client_ip", stream_peer(s->stream), "protocol", "imap");
    if (!ask) { /* not UTF-8: no account can have such a name or password */
        refuse(s);
        return;
    }
    session_wait(s);
    s->login_asked_us = clock_monotonic_us();
    s->login_ticket = bus_request(s->imapd->worker->bus, "accounts.login", ask, LIMIT_LOGIN_ANSWER_MS, on_login, s);
}

void cmd_login(struct session *s, struct parser *p) {
    struct slice name, password;
    if (!parse_space(p) || !parse_astring(p, &name) || !parse_space(p) || !parse_astring(p, &password) ||
        !parse_end(p)) {
        session_bad(s, "LOGIN requires a user name and a password");
        return;
    }
    if (!s->tls) {
        session_no(s, "[PRIVACYREQUIRED] Use STARTTLS first");
        return;
    }
    check_login(s, name, password);
}

/* Handles one response of the client, in base 64. */
static void take_answer(struct session *s, struct slice line) {
    struct authentication *a = s->job;
    struct buf decoded = {0};
    if (slice_is(line, "*")) {
        session_bad(s, "Given up");
        return;
    }
    if (base64_decode(line, false, &decoded) != 0) {
        buf_free(&decoded);
        session_bad(s, "Invalid base64");
        return;
    }
    struct slice text = arena_slice(s->arena, buf_slice(&decoded)), authorize, name;
    if (decoded.n) sodium_memzero(decoded.data, decoded.n);
    buf_free(&decoded);
    switch (a->step) {
    case AUTH_PLAIN:
        if (!slice_cut(&text, 0, &authorize) || !slice_cut(&text, 0, &name) || slice_find(text, 0) >= 0) {
            session_bad(s, "PLAIN requires: authorization identity, NUL, user name, NUL, password");
        } else if (authorize.n && !slice_equal(authorize, name)) {
            session_no(s, "[AUTHORIZATIONFAILED] Authorization as another user is not supported");
        } else {
            s->on_line = NULL;
            check_login(s, name, text);
        }
        break;
    case AUTH_LOGIN_NAME:
        a->name = text;
        a->step = AUTH_LOGIN_PASSWORD;
        session_plus(s, "UGFzc3dvcmQ6");
        break;
    case AUTH_LOGIN_PASSWORD:
        s->on_line = NULL;
        check_login(s, a->name, text);
        break;
    }
}

void cmd_authenticate(struct session *s, struct parser *p) {
    struct authentication *a = arena_alloc(s->arena, sizeof *a);
    struct slice mechanism;
    if (!parse_space(p) || !parse_atom(p, &mechanism)) {
        session_bad(s, "AUTHENTICATE requires a mechanism");
        return;
    }
    bool plain = slice_is_nocase(mechanism, "PLAIN");
    if (!plain && !slice_is_nocase(mechanism, "LOGIN")) {
        session_no(s, "[CANNOT] Unsupported mechanism");
        return;
    }
    if (!s->tls) {
        session_no(s, "[PRIVACYREQUIRED] Use STARTTLS first");
        return;
    }
    a->step = plain ? AUTH_PLAIN : AUTH_LOGIN_NAME;
    s->job = a;
    s->on_line = take_answer;
    if (parse_space(p)) { /* SASL-IR: "=" is an empty initial response */
        struct slice first = slice_make(p->p, (size_t)(p->end - p->p));
        take_answer(s, slice_is(first, "=") ? slice_make("", 0) : first);
    } else if (!parse_end(p)) {
        session_bad(s, "AUTHENTICATE requires a mechanism and accepts an initial response");
    } else {
        session_plus(s, plain ? "" : "VXNlcm5hbWU6");
    }
}
