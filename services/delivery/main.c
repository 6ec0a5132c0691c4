#include <stdlib.h>

#include "libcommon/base/config.h"
#include "libcommon/net/tls.h"
#include "services/delivery/delivery.h"

struct metric delivery_delivered =
    METRIC_COUNTER("postbus_delivery_delivered_total", "Recipients delivered to a mailbox here");
struct metric delivery_sent = METRIC_COUNTER("postbus_delivery_sent_total", "Recipients handed to another server");
struct metric delivery_deferred = METRIC_COUNTER("postbus_delivery_deferred_total", "Tries that will be made again");
struct metric delivery_bounced = METRIC_COUNTER("postbus_delivery_bounced_total", "Recipients given up");
struct metric delivery_in_work = METRIC_GAUGE("postbus_delivery_in_work", "Queue entries in work");

static void delivery_start(struct worker *w) {
    struct delivery *d = memory_alloc(sizeof *d);
    d->worker = w;
    d->smtp_port = (int)config_number("POSTBUS_SMTP_PORT", 25, 1, 65535);
    d->hello = config_text("POSTBUS_OUTGOING_NAME", w->hostname);
    d->dane_required = config_text("POSTBUS_DANE_REQUIRED", "");
    d->policy = retry_policy_read();
    d->tls = tls_client_context(config_text("POSTBUS_TLS_CA", ""));
    if (!d->tls) config_refuse("POSTBUS_TLS_CA", "the CA certificates cannot be read");
    SSL_CTX_dane_enable(d->tls);
    w->state = d;
    scheduler_start(d);
    admin_start(d);
}

static void delivery_drain(struct worker *w) { scheduler_check_drained(w->state); }

static void delivery_stop(struct worker *w) {
    struct delivery *d = w->state;
    scheduler_stop(d); /* what is still in work is found again by its lease */
    SSL_CTX_free(d->tls);
    free(d);
}

static const struct service delivery = {
    .name = "delivery", .start = delivery_start, .drain = delivery_drain, .stop = delivery_stop};

int main(void) { return service_run(&delivery); }
