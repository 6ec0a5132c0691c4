/* Trace fields, and the description of a client for events: pure text. */
#include <stdio.h>

#include "libcommon/base/clock.h"
#include "services/smtpd/smtpd.h"

void trace_received(const struct session *s, struct buf *out) {
    char when[CLOCK_TEXT_BYTES];
    const char *ip = s->ip, *tls = s->stream ? stream_tls_version(s->stream) : "";
    bool v6 = strchr(ip, ':') != NULL;
    /* RFC 5321 §4.4; the protocol's name from RFC 3848 and RFC 6531 §4.3 */
    buf_printf(out, "Received: from %s (%s%s%s%s)\r\n\tby %s (Postbus) with %s%s%s id %s", s->helo, v6 ? "[IPv6:" : "[",
               ip, "]", "", s->smtpd->worker->hostname,
               s->t.smtputf8 ? "UTF8SMTP"
               : s->esmtp    ? "ESMTP"
                             : "SMTP",
               *tls ? "S" : "", s->user ? "A" : "", s->t.id);
    if (*tls) buf_printf(out, "\r\n\t(using %s with cipher %s)", tls, stream_tls_cipher(s->stream));
    if (s->t.rcpt_count == 1)
        buf_printf(out, "\r\n\tfor <%.*s>", SLICE_FMT(s->t.rcpts->address)); /* with several it would reveal the others
                                                                                (§7.2) */
    buf_printf(out, ";\r\n\t%s\r\n", clock_rfc5322(clock_wall_ms(), when));
}

struct mail_event_client trace_client(const struct session *s) {
    static const char *const protocols[] = {
        [PORT_MX] = "smtp", [PORT_SUBMISSION] = "submission", [PORT_SUBMISSIONS] = "submissions"};
    return (struct mail_event_client){.ip = slice_of(s->ip),
                                      .port = s->ip_port,
                                      .helo = slice_of(s->helo),
                                      .protocol = slice_of(protocols[s->port]),
                                      .tls = slice_of(s->stream ? stream_tls_version(s->stream) : ""),
                                      .cipher = slice_of(s->stream ? stream_tls_cipher(s->stream) : ""),
                                      .login = slice_of(s->login)};
}
