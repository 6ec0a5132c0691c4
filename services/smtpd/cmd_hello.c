/* EHLO, HELO (RFC 5321 §4.1.1.1), STARTTLS (RFC 3207). */
#include <stdlib.h>

#include "services/smtpd/smtpd.h"

static void greet(struct session *s, const struct verdict *v) {
    const char *hostname = s->smtpd->worker->hostname;
    if (v->code) {
        free(s->helo);
        s->helo = NULL;
        session_refuse_verdict(s, v);
        return;
    }
    if (!s->esmtp) {
        session_reply(s, "250 %s", hostname);
        return;
    }
    bool tls = stream_ssl(s->stream) != NULL;
    session_reply(s, "250-%s greets %s", hostname, s->helo);
    session_reply(s, "250-PIPELINING");
    session_reply(s, "250-SIZE %zu", s->smtpd->process->message_max);
    session_reply(s, "250-8BITMIME");
    session_reply(s, "250-SMTPUTF8");
    session_reply(s, "250-CHUNKING");
    session_reply(s, "250-DSN");
    if (!tls) session_reply(s, "250-STARTTLS");
    if (tls) session_reply(s, "250-REQUIRETLS");
    if (tls && session_is_submission(s) && !s->user)
        session_reply(s, "250-AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS");
    session_reply(s, "250-LIMITS RCPTMAX=%d", SMTP_RCPTS_MAX);
    session_reply(s, "250 ENHANCEDSTATUSCODES");
}

void cmd_ehlo(struct session *s, struct slice argument, bool esmtp) {
    if (!smtp_is_hello_name(argument)) {
        session_refuse(s, "501 5.5.4 Syntax: %s hostname or [address]", esmtp ? "EHLO" : "HELO");
        return;
    }
    free(s->helo);
    s->helo = memory_copy(argument);
    s->esmtp = esmtp;
    transaction_reset(s); /* §4.1.4 */
    session_check(s, STAGE_HELLO, greet);
}

void cmd_starttls(struct session *s, struct slice argument) {
    if (argument.n) {
        session_refuse(s, "501 5.5.4 Syntax: STARTTLS");
        return;
    }
    if (stream_ssl(s->stream)) {
        session_refuse(s, "503 5.5.1 TLS is already in use");
        return;
    }
    session_reply(s, "220 2.0.0 Ready to start TLS");
    /* earlier commands are discarded (RFC 3207 §4.2) */
    free(s->helo);
    s->helo = NULL;
    transaction_reset(s);
    stream_start_tls(s->stream, SSL_new(s->smtpd->worker->tls), true);
}
