/* EHLO, HELO (RFC 5321 §4.1.1.1), STARTTLS (RFC 3207). */
#include <stdlib.h>

#include "services/smtpd/smtpd.h"

void cmd_ehlo(struct session *s, struct slice argument, bool esmtp) {
    if (!smtp_is_hello_name(argument)) {
        session_refuse(s, "501 5.5.4 %s takes your host name or [address]", esmtp ? "EHLO" : "HELO");
        return;
    }
    free(s->helo);
    s->helo = memory_copy(argument);
    s->esmtp = esmtp;
    transaction_reset(s); /* §4.1.4 */
    const char *hostname = s->smtpd->worker->hostname;
    if (!esmtp) {
        session_reply(s, "250 %s", hostname);
        return;
    }
    bool tls = stream_ssl(s->stream) != NULL;
    session_reply(s, "250-%s greets %.*s", hostname, SLICE_FMT(argument));
    session_reply(s, "250-PIPELINING");
    session_reply(s, "250-SIZE %zu", s->smtpd->message_max);
    session_reply(s, "250-8BITMIME");
    session_reply(s, "250-SMTPUTF8");
    session_reply(s, "250-CHUNKING");
    session_reply(s, "250-DSN");
    if (!tls) session_reply(s, "250-STARTTLS");
    if (tls) session_reply(s, "250-REQUIRETLS");
    if (tls && session_is_submission(s) && !s->user) session_reply(s, "250-AUTH PLAIN LOGIN");
    session_reply(s, "250-LIMITS RCPTMAX=%d", SMTP_RCPTS_MAX);
    session_reply(s, "250 ENHANCEDSTATUSCODES");
}

void cmd_starttls(struct session *s, struct slice argument) {
    if (argument.n) {
        session_refuse(s, "501 5.5.4 STARTTLS takes no argument");
        return;
    }
    if (stream_ssl(s->stream)) {
        session_refuse(s, "503 5.5.1 TLS is already in use");
        return;
    }
    session_reply(s, "220 2.0.0 go ahead with TLS");
    /* what was said before counts no longer (RFC 3207 §4.2) */
    free(s->helo);
    s->helo = NULL;
    transaction_reset(s);
    stream_start_tls(s->stream, SSL_new(s->smtpd->worker->tls), true);
}
