/* smtpd: start-up, and the checks of each stage. */
#include <stdlib.h>

#include "libcommon/base/config.h"
#include "services/smtpd/smtpd.h"

/* The checks of each stage, in their order. */
static check_fn *const checks[STAGES][STAGE_CHECKS_MAX + 1] = {
    [STAGE_CONNECT] = {check_connections},
    [STAGE_AUTH] = {check_login},
    [STAGE_MAIL] = {check_sender},
    [STAGE_RCPT] = {check_recipient},
    [STAGE_END] = {check_text, check_early_write, check_proofs, check_forgery, check_seal, check_header, check_authors,
                   check_signature},
};

/* Set up before the workers start. */
static struct smtpd_process process;

static void on_mx(struct worker *w, evutil_socket_t fd, const struct sockaddr *client, void *ctx) {
    (void)w;
    session_accept(ctx, fd, client, PORT_MX);
}

static void on_submission(struct worker *w, evutil_socket_t fd, const struct sockaddr *client, void *ctx) {
    (void)w;
    session_accept(ctx, fd, client, PORT_SUBMISSION);
}

static void on_submissions(struct worker *w, evutil_socket_t fd, const struct sockaddr *client, void *ctx) {
    (void)w;
    session_accept(ctx, fd, client, PORT_SUBMISSIONS);
}

static void smtpd_configure(void) {
    enum { DAY = 24 * 3600 };
    process.message_max = (size_t)config_number("POSTBUS_MESSAGE_MAX_BYTES", 50 * 1024 * 1024, 1024, 256 * 1024 * 1024);
    process.memory_max = (size_t)config_number("POSTBUS_SMTP_MEMORY_MAX", 512 * 1024 * 1024, 1024 * 1024, INT64_MAX);
    process.command_s = config_seconds("POSTBUS_SMTP_COMMAND_TIME", "5m", 1, DAY); /* RFC 5321 §4.5.3.2.7 */
    process.login_s = config_seconds("POSTBUS_SMTP_LOGIN_TIME", "2m", 1, DAY);
    process.session_s = config_seconds("POSTBUS_SMTP_SESSION_TIME", "1h", 1, DAY);
    process.data_s = config_seconds("POSTBUS_SMTP_DATA_TIME", "3m", 1, DAY); /* §4.5.3.2.5 */
    process.rate_min = config_number("POSTBUS_SMTP_RATE_MIN", 1024, 1, 1024 * 1024 * 1024);
    process.clients =
        clients_create((size_t)config_number("POSTBUS_SMTP_CONNECTIONS_PER_CLIENT", 200, 1, SMTP_CONNECTIONS_MAX));
}

static void smtpd_start(struct worker *w) {
    struct smtpd *d = memory_alloc(sizeof *d);
    d->worker = w;
    d->process = &process;
    d->checks = checks;
    d->logins = logins_create(w->base, w->bus);
    d->resolver = resolver_create(d);
    d->prefetcher = prefetcher_create(d);
    d->deliverer = deliverer_create(d);
    forward_configure(d);
    w->state = d;
    service_listen(w, "POSTBUS_SMTP_LISTEN", "[::]:25", on_mx, d);
    service_listen(w, "POSTBUS_SUBMISSION_LISTEN", "[::]:587", on_submission, d);
    service_listen(w, "POSTBUS_SUBMISSIONS_LISTEN", "[::]:465", on_submissions, d);
}

/* Sessions that wait for a command end (session.c); a client that is sending a message may complete
 * it. */
static void smtpd_drain(struct worker *w) {
    struct smtpd *d = w->state;
    for (struct session *each = d->sessions; each; each = each->next) life_wake(&each->life);
    if (d->count == 0) service_drained(w);
}

/* Pending answers arrive, with an error, when the bus and the store are closed after this; then the
 * last turns of the loop free the sessions. */
static void smtpd_stop(struct worker *w) {
    struct smtpd *d = w->state;
    d->stopping = true;
    for (struct session *each = d->sessions; each; each = each->next) session_end(each);
    logins_destroy(d->logins);
    resolver_destroy(d->resolver);
    prefetcher_destroy(d->prefetcher);
    d->resolver = NULL;
    d->prefetcher = NULL;
    smtpd_free(d);
}

static const struct service smtpd = {.name = "smtpd",
                                     .tls = true,
                                     .configure = smtpd_configure,
                                     .start = smtpd_start,
                                     .drain = smtpd_drain,
                                     .stop = smtpd_stop};

int main(void) { return service_run(&smtpd); }
