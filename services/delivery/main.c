#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/net/tls.h"
#include "services/delivery/crew.h"
#include "services/delivery/delivery.h"
#include "services/delivery/destination/destination.h"
#include "services/delivery/destination/route.h"
#include "services/delivery/message/local.h"
#include "services/delivery/scheduler.h"
#include "services/delivery/session/body.h"

static void delivery_start(struct worker *w) {
    struct delivery *d = memory_alloc(sizeof *d);
    d->worker = w;
    d->smtp_port = (int)config_number("POSTBUS_SMTP_PORT", 25, 1, 65535);
    d->hello = config_text("POSTBUS_OUTGOING_NAME", w->hostname);
    d->dane_required = config_text("POSTBUS_DANE_REQUIRED", "");
    d->private_destinations = config_flag("POSTBUS_PRIVATE_DESTINATIONS", false);
    d->lease_ms = config_seconds("POSTBUS_QUEUE_LEASE", "120s", 2, 3600) * 1000;
    d->policy = retry_policy_read();
    d->tls = tls_client_context(config_text("POSTBUS_TLS_CA", ""));
    if (!d->tls) config_refuse("POSTBUS_TLS_CA", "the CA certificates cannot be read");
    SSL_CTX_dane_enable(d->tls);
    w->state = d;
    d->bodies = bodies_create(w->redis, DELIVERY_BODIES_BYTES / (size_t)service_workers());
    d->routes = routes_create(w->base, w->bus);
    d->destinations = destinations_create(d);
    d->locals = locals_create(d);
    d->crew = crew_create(d);
    d->scheduler = scheduler_create(d);
    admin_start(d);
}

static void delivery_drain(struct worker *w) {
    struct delivery *d = w->state;
    scheduler_drain(d->scheduler);
}

static void delivery_stop(struct worker *w) {
    struct delivery *d = w->state;
    scheduler_destroy(d->scheduler); /* there is no work any more: it has drained */
    crew_destroy(d->crew);
    locals_destroy(d->locals);
    destinations_destroy(d->destinations);
    routes_destroy(d->routes);
    bodies_destroy(d->bodies);
    SSL_CTX_free(d->tls);
    free(d);
}

static const struct service delivery = {.name = "delivery",
                                        .drain_seconds = DELIVERY_DRAIN_SECONDS,
                                        .start = delivery_start,
                                        .drain = delivery_drain,
                                        .stop = delivery_stop};

int main(void) { return service_run(&delivery); }
