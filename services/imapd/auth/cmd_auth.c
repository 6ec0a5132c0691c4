/* STARTTLS, LOGIN, AUTHENTICATE PLAIN, LOGIN and, in auth_scram.c, SCRAM-SHA-256 (RFC 9051 §6.2, RFC 4616, SASL-IR RFC
 * 4959). A password is accepted only over TLS. */
#include <sodium.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "services/imapd/auth/auth.h"

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

static void on_login(void *ctx, int error, const json_t *reply) {
    struct session *s = ctx;
    s->login_ticket = 0;
    if (!session_resume(s)) return;
    const char *user = json_string_value(json_object_get(reply, "user")),
               *address = json_string_value(json_object_get(reply, "address"));
    if (error || !user || !address)
        auth_not_checked(s, error, bus_error_code(reply));
    else
        auth_right(s, user, address, json_string_value(json_object_get(reply, "generation")));
}

static void check_login(struct session *s, struct slice name, struct slice password) {
    json_t *ask = json_pack("{s:s%, s:s%, s:s, s:s}", "login", name.p, name.n, "password", password.p, password.n,
                            "client_ip", stream_peer(s->stream), "protocol", "imap");
    if (!ask) { /* not UTF-8: no account can have such a name or password */
        auth_refuse(s);
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
    bool plain = slice_is_nocase(mechanism, "PLAIN"), plus = slice_is_nocase(mechanism, "SCRAM-SHA-256-PLUS"),
         scram = plus || slice_is_nocase(mechanism, "SCRAM-SHA-256");
    if (!plain && !scram && !slice_is_nocase(mechanism, "LOGIN")) {
        session_no(s, "[CANNOT] Unsupported mechanism");
        return;
    }
    if (!s->tls) {
        session_no(s, "[PRIVACYREQUIRED] Use STARTTLS first");
        return;
    }
    if (scram) {
        auth_scram(s, plus);
    } else {
        a->step = plain ? AUTH_PLAIN : AUTH_LOGIN_NAME;
        s->job = a;
        s->on_line = take_answer;
    }
    if (parse_space(p)) { /* SASL-IR: "=" is an empty initial response */
        struct slice first = slice_make(p->p, (size_t)(p->end - p->p));
        s->on_line(s, slice_is(first, "=") ? slice_make("", 0) : first);
    } else if (!parse_end(p)) {
        session_bad(s, "AUTHENTICATE requires a mechanism and accepts an initial response");
    } else {
        session_plus(s, plain || scram ? "" : "VXNlcm5hbWU6");
    }
}
