/* AUTH PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 4954, RFC 4616, RFC 5802, RFC 7677),
 * only on the submission ports and only under TLS. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/json.h"
#include "services/smtpd/smtpd.h"

static const char wrong[] = "The login or the password is wrong";

static void forget(struct buf *b) {
    if (b->data) sodium_memzero(b->data, b->cap);
    buf_free(b);
}

/* accounts did not say that the login is right. */
static void not_right(struct checking *c, int error, struct slice reply) {
    char code[BUS_CODE_BYTES];
    if (error == BUS_REFUSED) /* RFC 4954 §6 */
        check_reject(c, 535, "5.7.8", "%s", wrong);
    else if (strcmp(bus_error_code_text(reply, code), "busy") == 0)
        check_reject(c, 454, "4.7.0", "Too many failed logins, try again later");
    else
        check_reject(c, 454, "4.7.0", "Logins cannot be checked now, try again later");
}

static void right(struct checking *c, struct slice user, struct slice address, struct slice generation) {
    struct session *s = c->session;
    if (logins_were_ended(s->smtpd->logins, user.p, (int64_t)c->mark)) {
        check_reject(c, 454, "4.7.0", "The account has just changed, log in again");
        return;
    }
    s->user = memory_copy(user);
    s->login = memory_copy(address);
    login_enter(s->smtpd->logins, &s->validity, &s->life, user, address, generation);
}

static void on_login(struct checking *c, int error, struct slice reply) {
    yyjson_val *o = NULL;
    yyjson_doc *doc = error ? NULL : json_take(reply, &o);
    struct slice user = json_take_text(o, "user"), address = json_take_text(o, "address");
    if (user.n && address.n)
        right(c, user, address, json_take_text(o, "generation"));
    else
        not_right(c, error, reply);
    yyjson_doc_free(doc);
}

/* accounts' answer to the present step of SCRAM. */
static void on_scram(struct checking *c, int error, struct slice reply) {
    struct session *s = c->session;
    buf_reset(&s->scram_answer);
    if (!error)
        error = s->scram_step == SCRAM_STEP_FIRST ? scram_challenge(&s->scram, reply, &s->scram_answer)
                                                  : scram_end(&s->scram, reply, &s->scram_answer);
    if (error) not_right(c, error, reply);
}

static void check_scram(struct checking *c) {
    struct session *s = c->session;
    struct buf ask = {0};
    struct json_put j = json_put_begin(&ask);
    bool first = s->scram_step == SCRAM_STEP_FIRST;
    (first ? scram_put_ask : scram_put_proof)(&s->scram, &j, s->ip, "smtp");
    s->scram_asked_us = clock_monotonic_us();
    check_ask(c, first ? "accounts.scram.salt" : "accounts.scram.login", &ask, SMTP_RESOLVE_MS, on_scram);
}

void check_login(struct checking *c) {
    struct session *s = c->session;
    struct buf ask = {0};
    if (s->scram_step == SCRAM_STEP_LAST) { /* the proof was right, and the client has seen ours */
        c->mark = (uint64_t)s->scram_asked_us;
        right(c, slice_of(s->scram.user), slice_of(s->scram.address), slice_of(s->scram.generation));
        return;
    }
    if (s->scram_step) {
        check_scram(c);
        return;
    }
    struct json_put j = json_put_begin(&ask);
    json_put_object(&j, NULL);
    json_put_text(&j, "login", buf_slice(&s->auth_user));
    json_put_text(&j, "password", buf_slice(&s->auth_password));
    json_put_word(&j, "client_ip", s->ip);
    json_put_word(&j, "protocol", "smtp");
    json_put_end(&j, '}');
    forget(&s->auth_user);
    forget(&s->auth_password);
    c->mark = (uint64_t)clock_monotonic_us();
    if (!j.failed) {
        check_ask(c, "accounts.login", &ask, SMTP_RESOLVE_MS, on_login);
    } else { /* not UTF-8 */
        forget(&ask);
        check_reject(c, 535, "5.7.8", "%s", wrong);
    }
}

static void login_done(struct session *s, const struct verdict *v) {
    if (!v->code && (s->scram_step == SCRAM_STEP_FIRST || s->scram_step == SCRAM_STEP_FINAL)) {
        s->scram_step++;
        s->mode = MODE_AUTH_SCRAM;
        session_reply(s, "334 %s", buf_str(&s->scram_answer));
        return;
    }
    s->scram_step = SCRAM_STEP_NONE;
    scram_free(&s->scram);
    if (!v->code) {
        session_reply(s, "235 2.7.0 Authentication successful");
        return;
    }
    session_refuse_verdict(s, v);
    if (v->code >= 500 && ++s->auth_failures >= SMTP_AUTH_FAILURES_MAX && !s->closing)
        session_close(s, "421 4.7.0 %s Too many failed logins, closing connection", s->smtpd->worker->hostname);
}

/* authzid NUL authcid NUL password (RFC 4616 §2); an authzid other than the login itself is not
 * supported. */
static void plain(struct session *s, struct slice encoded) {
    struct buf b = {0};
    if (base64_decode(encoded, false, &b) != 0) {
        session_refuse(s, "501 5.5.2 Invalid base64 data");
        forget(&b);
        return;
    }
    struct slice rest = buf_slice(&b), authzid, authcid;
    if (!slice_cut(&rest, 0, &authzid) || !slice_cut(&rest, 0, &authcid) || slice_find(rest, 0) >= 0 || !authcid.n ||
        (authzid.n && !slice_equal(authzid, authcid))) {
        struct verdict v = {.code = 535, .enhanced = "5.7.8"};
        memcpy(v.text, wrong, sizeof wrong);
        login_done(s, &v);
    } else {
        buf_reset(&s->auth_user);
        buf_add_slice(&s->auth_user, authcid);
        buf_reset(&s->auth_password);
        buf_add_slice(&s->auth_password, rest);
        session_check(s, STAGE_AUTH, login_done);
    }
    forget(&b);
}

/* The client's next message of SCRAM, in base 64. */
static void scram(struct session *s, struct slice encoded, bool plus) {
    struct buf b = {0};
    struct verdict v = {.code = 535, .enhanced = "5.7.8"};
    int error = SCRAM_OK;
    if (base64_decode(encoded, false, &b) != 0 || (s->scram_step == SCRAM_STEP_LAST && b.n))
        error = SCRAM_MALFORMED;
    else if (s->scram_step == SCRAM_STEP_FIRST)
        error = scram_first(&s->scram, buf_slice(&b), plus, stream_ssl(s->stream));
    else if (s->scram_step == SCRAM_STEP_FINAL)
        error = scram_final(&s->scram, buf_slice(&b));
    buf_free(&b);
    if (!error) {
        session_check(s, STAGE_AUTH, login_done);
    } else if (error == SCRAM_MALFORMED) {
        s->scram_step = SCRAM_STEP_NONE;
        session_refuse(s, "501 5.5.2 Not a message of SCRAM");
    } else {
        snprintf(v.text, sizeof v.text, "%s",
                 error == SCRAM_NO_BINDING ? "The channel binding does not fit this connection" : wrong);
        login_done(s, &v);
    }
}

void auth_line(struct session *s, struct slice line) {
    struct buf b = {0};
    enum session_mode mode = s->mode;
    s->mode = MODE_COMMAND;
    if (slice_is(line, "*")) { /* RFC 4954 §4: the client gives up */
        forget(&s->auth_user);
        s->scram_step = SCRAM_STEP_NONE;
        session_refuse(s, "501 5.7.0 Authentication cancelled");
        return;
    }
    if (mode == MODE_AUTH_SCRAM) {
        scram(s, line, s->scram.plus);
        return;
    }
    if (mode == MODE_AUTH_PLAIN) {
        plain(s, line);
        return;
    }
    if (base64_decode(line, false, &b) != 0 || (b.n && memchr(b.data, 0, b.n))) {
        forget(&s->auth_user);
        session_refuse(s, "501 5.5.2 Invalid base64 data");
        forget(&b);
    } else if (mode == MODE_AUTH_USER) {
        forget(&s->auth_user);
        s->auth_user = b;
        s->mode = MODE_AUTH_PASSWORD;
        session_reply(s, "334 UGFzc3dvcmQ6"); /* "Password:" */
    } else {
        forget(&s->auth_password);
        s->auth_password = b;
        session_check(s, STAGE_AUTH, login_done);
    }
}

void cmd_auth(struct session *s, struct slice argument) {
    struct slice mechanism = argument, initial = SLICE("");
    if (slice_cut(&argument, ' ', &mechanism)) initial = slice_trim(argument);
    if (!session_is_submission(s)) {
        session_refuse(s, "503 5.5.1 Authentication is offered on the submission ports only (587 and 465)");
    } else if (!stream_ssl(s->stream)) {
        session_refuse(s, "538 5.7.11 Encryption is required for authentication, use STARTTLS first"); /* RFC 4954 §6 */
    } else if (s->user) {
        session_refuse(s, "503 5.5.1 Already authenticated");
    } else if (s->t.has_from) {
        session_refuse(s, "503 5.5.1 AUTH is not allowed during a mail transaction"); /* RFC 4954 §4 */
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
    } else if (slice_is_nocase(mechanism, "SCRAM-SHA-256") || slice_is_nocase(mechanism, "SCRAM-SHA-256-PLUS")) {
        scram_free(&s->scram);
        s->scram.plus = slice_is_nocase(mechanism, "SCRAM-SHA-256-PLUS");
        s->scram_step = SCRAM_STEP_FIRST;
        if (initial.n) {
            scram(s, slice_is(initial, "=") ? SLICE("") : initial, s->scram.plus);
            return;
        }
        s->mode = MODE_AUTH_SCRAM;
        session_reply(s, "334 ");
    } else {
        session_refuse(s, "504 5.5.4 Unknown authentication mechanism; PLAIN, LOGIN and SCRAM-SHA-256 are offered");
    }
}
