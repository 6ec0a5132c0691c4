/* What commands and checks need of their session: replies, the start of checks. */
#include <stdarg.h>
#include <stdio.h>

#include "services/smtpd/smtpd.h"

struct metric smtpd_connections = METRIC_GAUGE("postbus_smtpd_connections", "Open connections");
struct metric smtpd_accepted = METRIC_COUNTER("postbus_smtpd_messages_accepted_total", "Messages answered 250");
struct metric smtpd_delivered =
    METRIC_COUNTER("postbus_smtpd_messages_delivered_total",
                   "Messages that were in all their mailboxes when they were answered 250; the others were queued");
struct metric smtpd_refused =
    METRIC_COUNTER("postbus_smtpd_messages_refused_total", "Messages refused for good after DATA");
struct metric smtpd_deferred =
    METRIC_COUNTER("postbus_smtpd_messages_deferred_total", "Messages answered 4xx after DATA");
struct metric smtpd_bytes = METRIC_COUNTER("postbus_smtpd_bytes_accepted_total", "Bytes of messages answered 250");

bool session_is_submission(const struct session *s) { return s->port != PORT_MX; }

/* Replies */

__attribute__((format(printf, 2, 0))) static void reply_va(struct session *s, const char *format, va_list ap) {
    char line[1024];
    int n = vsnprintf(line, sizeof line - 2, format, ap);
    if (n < 0 || !s->stream) return;
    if ((size_t)n > sizeof line - 3) n = (int)sizeof line - 3;
    for (int i = 0; i < n; i++) /* text from outside must not add a line */
        if (line[i] == '\r' || line[i] == '\n') line[i] = ' ';
    memcpy(line + n, "\r\n", 3);
    stream_write(s->stream, slice_make(line, (size_t)n + 2));
}

void session_reply(struct session *s, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    reply_va(s, format, ap);
    va_end(ap);
}

void session_close(struct session *s, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    reply_va(s, format, ap);
    va_end(ap);
    s->closing = true;
}

static void count_error(struct session *s) {
    if (++s->errors >= SMTP_ERRORS_MAX)
        session_close(s, "421 4.7.0 %s Too many errors, closing connection", s->smtpd->worker->hostname);
}

void session_refuse(struct session *s, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    reply_va(s, format, ap);
    va_end(ap);
    count_error(s);
}

void session_refuse_verdict(struct session *s, const struct verdict *v) {
    session_refuse(s, "%d %s %s", v->code, v->enhanced, v->text);
}

/* Checks */

void session_check(struct session *s, enum stage stage, stage_done_fn *done) {
    stage_begin(&s->checking, s, stage);
    s->then = done;
}

void session_keep_verdict(struct session *s, const struct checking *c) {
    bool all = c->stage < STAGE_MAIL;
    if (c->verdict.folder) *(all ? &s->folder : &s->t.folder) = c->verdict.folder;
    if (c->verdict.hold) *(all ? &s->hold : &s->t.hold) = c->verdict.hold;
}
