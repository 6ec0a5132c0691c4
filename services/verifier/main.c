/* verifier: DNS and sender authentication on the bus. */
#include <curl/curl.h>
#include <malloc.h>
#include <stdlib.h>

#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/trust/dkim/dkim.h"
#include "services/verifier/check/check.h"
#include "services/verifier/keys/keys.h"
#include "services/verifier/keys/rotate.h"
#include "services/verifier/policy/sts.h"
#include "services/verifier/verifier.h"
#include "services/verifier/zone/domain_records.h"
#include "services/verifier/zone/publish.h"

enum { HEAP_KEPT = 16 * 1024 * 1024 }; /* bytes of free heap */

static void verifier_configure(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT); /* without this, every second request returns pages to the
                                             kernel and allocates them again */
}

static void verifier_start(struct worker *w) {
    struct verifier *v = memory_alloc(sizeof *v);
    struct resolver_settings settings = {
        .forward = config_text("POSTBUS_RESOLVER_FORWARD", ""),
        .stubs = config_text("POSTBUS_RESOLVER_STUBS", ""),
        .trust_anchor = config_text("POSTBUS_TRUST_ANCHOR", ""),
    };
    v->worker = w;
    w->state = v;
    v->resolver = resolver_create(w->base, &settings);
    if (!v->resolver) config_refuse("POSTBUS_RESOLVER_*", "the resolver cannot start; the line before says why");
    const struct trust_settings trust = {
        .discovery = config_text("POSTBUS_DMARC_DISCOVERY", ""),
        .sealers = config_text("POSTBUS_ARC_TRUSTED", ""),
        .overrides = config_text("POSTBUS_DMARC_OVERRIDES", ""),
        .spf = config_text("POSTBUS_SPF_FAIL", ""),
        .iprev = config_text("POSTBUS_IPREV_FAIL", ""),
    };
    const char *wrong;
    v->settings = arena_create();
    v->policy = trust_policy_parse(v->settings, &trust, &wrong);
    if (!v->policy)
        config_refuse("POSTBUS_DMARC_*, POSTBUS_ARC_TRUSTED, POSTBUS_SPF_FAIL or POSTBUS_IPREV_FAIL", wrong);
    v->http =
        http_create(w->base, config_text("POSTBUS_TLS_CA", ""), config_flag("POSTBUS_PRIVATE_DESTINATIONS", false));
    v->sts = sts_cache_create(v);
    v->keys = key_cache_create(v);
    v->trust_keys = dkim_key_cache_create();
    if (w->index == 0) v->rotator = rotator_create(v);
    route_serve(v);
    prefetch_serve(v);
    verify_serve(v);
    explain_serve(v);
    seal_serve(v);
    sign_serve(v);
    v->servers = memory_alloc(sizeof *v->servers);
    if (!publish_servers_read(v->servers)) {
        free(v->servers);
        v->servers = NULL;
    }
    records_serve(v);
    txt_serve(v);
    check_serve(v);
    if (w->index == 0) v->publisher = publisher_create(v); /* one worker of a replica is enough */
    if (w->index == 0) v->monitor = dns_monitor_create(v);
}

static void verifier_drain(struct worker *w) {
    struct verifier *v = w->state;
    v->draining = true;
    if (v->requests == 0) service_drained(w);
}

static void verifier_stop(struct worker *w) {
    struct verifier *v = w->state;
    publisher_destroy(v->publisher);
    dns_monitor_destroy(v->monitor);
    domain_records_stop(v);
    resolver_destroy(v->resolver); /* requests still in flight end with failures */
    sts_cache_destroy(v->sts);
    http_destroy(v->http);
    check_stop(v);
    rotator_destroy(v->rotator);
    key_cache_destroy(v->keys);
    dkim_key_cache_destroy(v->trust_keys);
    arena_destroy(v->settings);
    if (v->servers && v->requests == 0) { /* otherwise a thread of the pool may be using it, and the
                                             process ends anyway */
        publish_servers_free(v->servers);
        free(v->servers);
    }
    free(v);
}

static const struct service definition = {
    .name = "verifier",
    .configure = verifier_configure,
    .start = verifier_start,
    .drain = verifier_drain,
    .stop = verifier_stop,
};

int main(void) { return service_run(&definition); }
