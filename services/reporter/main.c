/* reporter: start-up. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/config.h"
#include "services/reporter/reporter.h"

static void reporter_configure(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

/* The mail domain of this host: its name without the first label, if the rest is a domain. */
static const char *mail_domain(const char *hostname) {
    const char *dot = strchr(hostname, '.');
    return dot && strchr(dot + 1, '.') ? dot + 1 : hostname;
}

static void read_settings(struct reporter *r) {
    static char fallback[ADDRESS_BYTES_MAX];
    struct settings *s = &r->settings;
    struct mail_address from;
    if (!*fallback) snprintf(fallback, sizeof fallback, "postmaster@%s", mail_domain(r->worker->hostname));
    s->interval = config_number("POSTBUS_REPORT_INTERVAL", 86400, 1, 86400);
    s->delay = config_number("POSTBUS_REPORT_DELAY", 3600, 0, 86400);
    s->from = config_text("POSTBUS_REPORT_FROM", fallback);
    if (address_normalise(slice_of(s->from), &from) != 0)
        config_refuse("POSTBUS_REPORT_FROM", "expected an address, such as postmaster@example.org");
    snprintf(s->from_domain, sizeof s->from_domain, "%s", from.domain);
    s->submitter = r->worker->hostname;
    s->org = config_text("POSTBUS_REPORT_ORG", r->worker->hostname);
    s->failures = config_flag("POSTBUS_FAILURE_REPORTS", false);
    s->private_destinations = config_flag("POSTBUS_PRIVATE_DESTINATIONS", false);
    s->ca_file = config_text("POSTBUS_TLS_CA", "");
    s->keep_days = config_number("POSTBUS_REPORT_DAYS", 400, 1, 4000);
}

static void reporter_start(struct worker *w) {
    struct reporter *r = memory_alloc(sizeof *r);
    r->worker = w;
    w->state = r;
    read_settings(r);
    incoming_serve(r);
    requests_serve(r);
    if (w->index == 0) {
        intake_start(r);
        sender_start(r);
    }
}

static void reporter_drain(struct worker *w) {
    struct reporter *r = w->state;
    r->draining = true;
    reporter_check_drained(r);
}

static void reporter_stop(struct worker *w) {
    struct reporter *r = w->state;
    sender_stop(r);
    intake_stop(r);
    free(r); /* nothing is running: see reporter_check_drained */
}

static const struct service definition = {.name = "reporter",
                                          .configure = reporter_configure,
                                          .start = reporter_start,
                                          .drain = reporter_drain,
                                          .stop = reporter_stop};

int main(void) { return service_run(&definition); }
