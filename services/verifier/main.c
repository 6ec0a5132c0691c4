/* verifier: DNS and sender authentication on the bus. */
#include <curl/curl.h>
#include <malloc.h>
#include <stdlib.h>

#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/trust/dkim.h"
#include "services/verifier/keys.h"
#include "services/verifier/publish.h"
#include "services/verifier/sts.h"
#include "services/verifier/verifier.h"

enum { HEAP_KEPT = 16 * 1024 * 1024 }; /* bytes of free heap */

static void verifier_configure(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT); /* or every second request gives pages back to the kernel and takes them again */
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
    v->http = http_create(w->base, config_text("POSTBUS_TLS_CA", ""));
    v->sts = sts_cache_create(v);
    v->keys = key_cache_create(v);
    v->trust_keys = dkim_key_cache_create();
    route_serve(v);
    verify_serve(v);
    sign_serve(v);
    records_serve(v);
    if (w->index == 0) v->publisher = publisher_create(v); /* one worker of a replica is enough */
}

static void verifier_drain(struct worker *w) {
    struct verifier *v = w->state;
    v->draining = true;
    if (v->requests == 0) service_drained(w);
}

static void verifier_stop(struct worker *w) {
    struct verifier *v = w->state;
    publisher_destroy(v->publisher);
    resolver_destroy(v->resolver); /* requests still in flight end with failures */
    sts_cache_destroy(v->sts);
    http_destroy(v->http);
    key_cache_destroy(v->keys);
    dkim_key_cache_destroy(v->trust_keys);
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
