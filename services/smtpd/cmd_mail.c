/* MAIL (RFC 5321 §4.1.1.2) with SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531), DSN (3461),
 * REQUIRETLS (8689). */
#include <stdlib.h>

#include "services/smtpd/smtpd.h"

enum { ENVID_MAX = 100 };

bool is_xtext(struct slice v, size_t max) {
    if (!v.n || v.n > max) return false;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '!' || v.p[i] > '~' || v.p[i] == '=') return false;
        if (v.p[i] != '+') continue;
        for (int k = 1; k <= 2; k++) /* "+" only as the start of "+XX" */
            if (i + (size_t)k >= v.n || !v.p[i + (size_t)k] || !strchr("0123456789ABCDEF", v.p[i + (size_t)k]))
                return false;
    }
    return true;
}

static bool bad_value(struct session *s, const char *key) {
    session_refuse(s, "501 5.5.4 Invalid value of the parameter %s", key);
    return false;
}

/* One parameter: true, or false after refusing. */
static bool parameter(struct session *s, struct slice key, struct slice value) {
    struct transaction *t = &s->t;
    if (slice_is_nocase(key, "SIZE")) {
        uint64_t size;
        if (slice_to_u64(value, UINT64_MAX, &size) != 0) return bad_value(s, "SIZE");
        if (size > s->smtpd->process->message_max) { /* RFC 1870 §6.1 */
            session_refuse(s, "552 5.3.4 Message too large, at most %zu bytes are accepted",
                           s->smtpd->process->message_max);
            return false;
        }
    } else if (slice_is_nocase(key, "BODY")) {
        if (!slice_is_nocase(value, "7BIT") && !slice_is_nocase(value, "8BITMIME")) return bad_value(s, "BODY");
        t->body = slice_is_nocase(value, "7BIT") ? BODY_7BIT : BODY_8BITMIME;
    } else if (slice_is_nocase(key, "SMTPUTF8")) {
        if (value.n) return bad_value(s, "SMTPUTF8");
        t->smtputf8 = true;
    } else if (slice_is_nocase(key, "RET")) {
        if (!slice_is_nocase(value, "FULL") && !slice_is_nocase(value, "HDRS")) return bad_value(s, "RET");
        t->ret = slice_is_nocase(value, "FULL") ? SLICE("full") : SLICE("hdrs");
    } else if (slice_is_nocase(key, "ENVID")) {
        if (!is_xtext(value, ENVID_MAX)) return bad_value(s, "ENVID");
        t->envid = arena_slice(t->arena, value);
    } else if (slice_is_nocase(key, "REQUIRETLS") && stream_ssl(s->stream)) {
        if (value.n) return bad_value(s, "REQUIRETLS");
        t->require_tls = true;
    } else if (slice_is_nocase(key, "AUTH")) {
        /* RFC 4954 §5: the original sender, according to the client; it is not trusted */
    } else {
        session_refuse(s, "555 5.5.4 Unknown parameter %.*s", SLICE_FMT(key));
        return false;
    }
    return true;
}

static void refuse_owner(struct checking *c) {
    struct session *s = c->session;
    check_reject(c, 553, "5.7.1", "You are logged in as %s, and <%.*s> is not one of your addresses", s->login,
                 SLICE_FMT(s->t.from));
}

static void on_owns(struct checking *c, int error, struct slice reply) {
    if (error == BUS_UNAVAILABLE)
        check_reject(c, 451, "4.3.0", "The sender address cannot be checked now, try again later");
    else if (error || !owner_answer(c, reply, c->session->t.from))
        refuse_owner(c);
}

/* On submission, the reverse-path must be one of the login's addresses (RFC 6409 §6.1). */
void check_sender(struct checking *c) {
    struct session *s = c->session;
    if (!session_is_submission(s) || !s->t.from.n) return;
    if (resolver_owns(s->smtpd->resolver, s->user, s->t.from)) return;
    ask_owner(c, s->t.from, on_owns);
}

static void mail_done(struct session *s, const struct verdict *v) {
    if (v->code) {
        session_refuse_verdict(s, v);
        transaction_reset(s);
        return;
    }
    s->t.has_from = true;
    prefetch_sender(s);
    session_reply(s, "250 2.1.0 OK");
}

void cmd_mail(struct session *s, struct slice argument) {
    struct slice from, key, value;
    int got;
    if (s->t.has_from || s->t.chunking) {
        session_refuse(s, "503 5.5.1 A mail transaction is open already");
        return;
    }
    if (session_is_submission(s) && !s->user) {
        session_refuse(s, stream_ssl(s->stream) ? "530 5.7.0 Authentication required"
                                                : "530 5.7.0 Authentication required, use STARTTLS first");
        return;
    }
    if ((got = smtp_parse_path(&argument, "FROM", &from)) != 0) {
        session_refuse(s, got == SMTP_PATH_TOO_LONG ? "501 5.1.7 The sender address is too long"
                                                    : "501 5.1.7 Syntax: MAIL FROM:<local@domain>");
        return;
    }
    while ((got = smtp_next_parameter(&argument, &key, &value)) == 1)
        if (!parameter(s, key, value)) {
            transaction_reset(s);
            return;
        }
    if (got < 0) {
        transaction_reset(s);
        session_refuse(s, "501 5.5.4 Syntax: parameters are KEY=VALUE");
        return;
    }
    if (!smtp_is_ascii(from) && !s->t.smtputf8) { /* RFC 6531 §3.5 */
        transaction_reset(s);
        session_refuse(s, "553 5.6.7 A non-ASCII address needs the parameter SMTPUTF8");
        return;
    }
    s->t.from = arena_slice(s->t.arena, from);
    session_check(s, STAGE_MAIL, mail_done);
}
