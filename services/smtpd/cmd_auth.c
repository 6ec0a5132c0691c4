/* AUTH PLAIN and LOGIN (RFC 4954, RFC 4616), only on the submission ports and only under TLS. */
#include <sodium.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "services/smtpd/smtpd.h"

static void forget(struct buf *b) {
    if (b->data) sodium_memzero(b->data, b->cap);
    buf_free(b);
}

static void on_login(void *ctx, int error, const json_t *reply) {
    struct session *s = ctx;
    s->ticket = 0;
    s->busy = false;
    if (error == BUS_OK) {
        s->user = memory_copy(slice_of(json_string_value(json_object_get(reply, "user"))));
        s->login = memory_copy(slice_of(json_string_value(json_object_get(reply, "address"))));
        session_reply(s, "235 2.7.0 welcome");
    } else if (error == BUS_REFUSED) {
        session_refuse(s, "535 5.7.8 the login or the password is wrong");
        if (++s->auth_failures >= SMTP_AUTH_FAILURES_MAX && !s->closing)
            session_close(s, "421 4.7.0 too many failed logins, closing");
    } else if (strcmp(bus_error_code(reply), "busy") == 0) {
        session_refuse(s, "454 4.7.0 too many failed logins for this account: wait 15 minutes");
    } else {
        session_refuse(s, "454 4.7.0 logins cannot be checked now, try again");
    }
    session_continue(s);
}

static void login(struct session *s, const char *user, const char *password) {
    json_t *ask = json_pack("{s:s,s:s,s:s,s:s}", "login", user, "password", password, "client_ip",
                            stream_peer(s->stream), "protocol", "smtp");
    if (!ask) { /* not UTF-8 */
        session_refuse(s, "535 5.7.8 the login or the password is wrong");
        return;
    }
    session_ask(s, "accounts.login", ask, SMTP_RESOLVE_MS, on_login);
}

/* authzid NUL authcid NUL password (RFC 4616 §2); an authzid other than the login itself is not offered. */
static void plain(struct session *s, struct slice encoded) {
    struct buf b = {0};
    if (base64_decode(encoded, false, &b) != 0) {
        session_refuse(s, "501 5.5.2 this is not base 64");
        forget(&b);
        return;
    }
    struct slice rest = buf_slice(&b), authzid, authcid;
    if (!slice_cut(&rest, 0, &authzid) || !slice_cut(&rest, 0, &authcid) || slice_find(rest, 0) >= 0 || !authcid.n ||
        (authzid.n && !slice_equal(authzid, authcid)))
        session_refuse(s, "535 5.7.8 the login or the password is wrong");
    else
        login(s, authcid.p, rest.p);
    forget(&b);
}

void auth_line(struct session *s, struct slice line) {
    struct buf b = {0};
    enum session_mode mode = s->mode;
    s->mode = MODE_COMMAND;
    if (slice_is(line, "*")) { /* RFC 4954 §4: the client gives up */
        forget(&s->auth_user);
        session_refuse(s, "501 5.7.0 authentication cancelled");
        return;
    }
    if (mode == MODE_AUTH_PLAIN) {
        plain(s, line);
        return;
    }
    if (base64_decode(line, false, &b) != 0 || (b.n && memchr(b.data, 0, b.n))) {
        forget(&s->auth_user);
        session_refuse(s, "501 5.5.2 this is not base 64");
    } else if (mode == MODE_AUTH_USER) {
        buf_reset(&s->auth_user);
        buf_add(&s->auth_user, b.data, b.n);
        s->mode = MODE_AUTH_PASSWORD;
        session_reply(s, "334 UGFzc3dvcmQ6"); /* "Password:" */
    } else {
        login(s, buf_str(&s->auth_user), buf_str(&b));
        forget(&s->auth_user);
    }
    forget(&b);
}

void cmd_auth(struct session *s, struct slice argument) {
    struct slice mechanism = argument, initial = SLICE("");
    if (slice_cut(&argument, ' ', &mechanism)) initial = slice_trim(argument);
    if (!session_is_submission(s)) {
        session_refuse(s, "503 5.5.1 logins are for the submission ports, 587 and 465");
    } else if (!stream_ssl(s->stream)) {
        session_refuse(s, "538 5.7.11 start TLS first: passwords are not sent in plain text"); /* RFC 4954 §6 */
    } else if (s->user) {
        session_refuse(s, "503 5.5.1 you are logged in already");
    } else if (s->t.has_from) {
        session_refuse(s, "503 5.5.1 AUTH comes before MAIL"); /* RFC 4954 §4 */
    } else if (slice_is_nocase(mechanism, "PLAIN")) {
        if (initial.n) {
            plain(s, slice_is(initial, "=") ? SLICE("") : initial);
            return;
        }
        s->mode = MODE_AUTH_PLAIN;
        session_reply(s, "334 ");
    } else if (slice_is_nocase(mechanism, "LOGIN")) {
        s->mode = MODE_AUTH_USER;
        if (initial.n)
            auth_line(s, initial);
        else
            session_reply(s, "334 VXNlcm5hbWU6"); /* "Username:" */
    } else {
        session_refuse(s, "504 5.5.4 the mechanisms are PLAIN and LOGIN");
    }
}
