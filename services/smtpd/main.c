#include <stdlib.h>

#include "libcommon/base/config.h"
#include "services/smtpd/smtpd.h"

struct metric smtpd_connections = METRIC_GAUGE("postbus_smtpd_connections", "Open connections");
struct metric smtpd_accepted =
    METRIC_COUNTER("postbus_smtpd_messages_accepted_total", "Messages committed to the queue");
struct metric smtpd_refused =
    METRIC_COUNTER("postbus_smtpd_messages_refused_total", "Messages refused for good after DATA");
struct metric smtpd_deferred =
    METRIC_COUNTER("postbus_smtpd_messages_deferred_total", "Messages answered 4xx after DATA");
struct metric smtpd_bytes =
    METRIC_COUNTER("postbus_smtpd_bytes_accepted_total", "Bytes of messages committed to the queue");

static void on_mx(struct worker *w, evutil_socket_t fd, void *ctx) {
    (void)w;
    session_accept(ctx, fd, PORT_MX);
}

static void on_submission(struct worker *w, evutil_socket_t fd, void *ctx) {
    (void)w;
    session_accept(ctx, fd, PORT_SUBMISSION);
}

static void on_submissions(struct worker *w, evutil_socket_t fd, void *ctx) {
    (void)w;
    session_accept(ctx, fd, PORT_SUBMISSIONS);
}

static void smtpd_start(struct worker *w) {
    struct smtpd *s = memory_alloc(sizeof *s);
    s->worker = w;
    s->message_max = (size_t)config_number("POSTBUS_MESSAGE_MAX_BYTES", 50 * 1024 * 1024, 1024, 256 * 1024 * 1024);
    s->memory_max = (size_t)config_number("POSTBUS_SMTP_MEMORY_MAX", 1024 * 1024 * 1024, 1024 * 1024, INT64_MAX);
    s->per_client_max = (size_t)config_number("POSTBUS_SMTP_CONNECTIONS_PER_CLIENT", 200, 1, SMTP_CONNECTIONS_MAX);
    forward_configure(s);
    w->state = s;
    service_listen(w, "POSTBUS_SMTP_LISTEN", "[::]:25", on_mx, s);
    service_listen(w, "POSTBUS_SUBMISSION_LISTEN", "[::]:587", on_submission, s);
    service_listen(w, "POSTBUS_SUBMISSIONS_LISTEN", "[::]:465", on_submissions, s);
}

/* The idle are sent away; who is in the middle of a message may finish it. */
static void smtpd_drain(struct worker *w) {
    struct smtpd *s = w->state;
    for (struct session *each = s->sessions, *next; each; each = next) {
        next = each->next;
        if (each->busy || each->mode == MODE_DATA || each->mode == MODE_BDAT || !each->stream) continue;
        session_close(each, "421 4.3.2 %s is restarting, try again", w->hostname);
        session_continue(each);
    }
    if (s->count == 0) service_drained(w);
}

static void smtpd_stop(struct worker *w) {
    struct smtpd *s = w->state;
    for (struct session *each = s->sessions, *next; each; each = next) {
        next = each->next;
        session_destroy(each);
    }
    free(s->srs_secret);
    free(s);
}

static const struct service smtpd = {
    .name = "smtpd", .tls = true, .start = smtpd_start, .drain = smtpd_drain, .stop = smtpd_stop};

int main(void) { return service_run(&smtpd); }
