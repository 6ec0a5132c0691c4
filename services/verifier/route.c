/* Where mail for a domain goes: MX, addresses, TLSA, MTA-STS (steps 4 and 5 of a mail). */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/verifier/domain.h"
#include "services/verifier/lookup.h"
#include "services/verifier/sts.h"
#include "services/verifier/verifier.h"

static struct metric routes = METRIC_COUNTER("postbus_verifier_routes_total", "Route requests answered");

struct host {
    struct slice name;
    unsigned preference;
    bool secure;          /* its addresses, and the way to them */
    struct slice tlsa_at; /* "_25._tcp.<base>" where there may be TLSA records; empty: nowhere */
    struct slice tlsa_second;
};

enum step { STEP_MX, STEP_ADDRESSES, STEP_TLSA };

struct route {
    struct verifier *verifier;
    struct bus_call *call;
    struct arena *arena;
    struct lookup *lookup;
    struct event *timer;
    enum step step;
    char domain[DOMAIN_MAX];
    struct slice tls_rpt_name;
    bool mx_secure, implicit;
    size_t count;
    struct host hosts[ROUTE_HOSTS_MAX];
    const char *unusable; /* why a host was left out */
    bool dns_done, sts_done, answered;
    json_t *policy, *reply;
};

static void proceed(void *ctx);

static void route_destroy(struct route *r) {
    event_free(r->timer);
    lookup_destroy(r->lookup);
    json_decref(r->policy);
    json_decref(r->reply);
    verifier_end(r->verifier);
    arena_destroy(r->arena);
    free(r);
}

/* Answers when both DNS and MTA-STS are done (or the time is up), and goes when nothing refers to the route any more. */
static void settle(struct route *r) {
    if (!r->answered && r->reply && (r->sts_done || !r->dns_done)) {
        r->answered = true;
        event_del(r->timer);
        json_object_set_new(r->reply, "mta_sts", r->policy ? json_incref(r->policy) : json_null());
        metric_add(&routes, 1);
        bus_answer(r->call, r->reply);
        r->reply = NULL;
    }
    if (r->answered && r->dns_done && r->sts_done) route_destroy(r);
}

static void conclude(struct route *r, json_t *reply) {
    r->dns_done = true;
    if (r->answered)
        json_decref(reply);
    else
        r->reply = reply;
    settle(r);
}

static json_t *reply_create(const char *result, const char *dnssec, const char *reason) {
    return json_pack("{s:s,s:s,s:[],s:s*,s:n}", "result", result, "dnssec", dnssec, "hosts", "reason", reason, "tls_rpt");
}

static const char *dnssec_text(const struct answer *a) { return a->security == ANSWER_SECURE ? "secure" : a->security == ANSWER_BOGUS ? "bogus" : "insecure"; }

static char *reason_text(struct route *r, const char *what, struct slice name, const struct answer *a) {
    return arena_printf(r->arena, "%s of %.*s: %.*s", what, SLICE_FMT(name), SLICE_FMT(a->reason));
}

static void on_policy(void *ctx, json_t *policy) {
    struct route *r = ctx;
    r->sts_done = true;
    r->policy = policy;
    settle(r);
}

static void on_timeout(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct route *r = ctx;
    if (r->answered) return;
    if (!r->reply) r->reply = reply_create("tempfail", "insecure", "no DNS answer in time");
    r->answered = true;
    json_object_set_new(r->reply, "mta_sts", r->policy ? json_incref(r->policy) : json_null());
    bus_answer(r->call, r->reply);
    r->reply = NULL;
    settle(r);
}

static int by_preference(const void *a, const void *b) {
    const struct answer_record *x = a, *y = b;
    return x->preference - y->preference;
}

/* Fills r->hosts from the MX answer; false when the route is concluded. */
static bool take_mx(struct route *r, const struct answer *mx) {
    struct slice domain = slice_of(r->domain);
    r->mx_secure = mx->security == ANSWER_SECURE;
    switch (mx->status) {
    case ANSWER_FAILED: conclude(r, reply_create("tempfail", dnssec_text(mx), reason_text(r, "MX", domain, mx))); return false;
    case ANSWER_NXDOMAIN: conclude(r, reply_create("nxdomain", dnssec_text(mx), "the domain does not exist")); return false;
    case ANSWER_NODATA: /* RFC 5321 §5.1: the domain itself, as if it were an MX of preference 0 */
        r->implicit = true;
        r->count = 1;
        r->hosts[0] = (struct host){.name = domain};
        return true;
    case ANSWER_OK: break;
    }
    if (mx->count == 1 && mx->records[0].data.n == 0) { /* RFC 7505 §3 */
        conclude(r, reply_create("null_mx", dnssec_text(mx), "the domain says that it takes no mail (RFC 7505)"));
        return false;
    }
    qsort(mx->records, mx->count, sizeof *mx->records, by_preference);
    for (size_t i = 0; i < mx->count && r->count < ROUTE_HOSTS_MAX; i++) {
        struct slice name = mx->records[i].data;
        /* This host is in the list: what is not preferred to it would only send the mail around (RFC 5321 §5.1). */
        if (slice_is_nocase(name, r->verifier->worker->hostname)) {
            while (r->count && r->hosts[r->count - 1].preference == mx->records[i].preference) r->count--;
            if (r->count == 0) {
                conclude(r, reply_create("tempfail", dnssec_text(mx), "the domain's MX is this server, which does not host the domain: mail loops back"));
                return false;
            }
            break;
        }
        if (name.n) r->hosts[r->count++] = (struct host){.name = name, .preference = mx->records[i].preference};
    }
    return true;
}

static void ask_addresses(struct route *r) {
    for (size_t i = 0; i < r->count; i++) {
        lookup_add(r->lookup, r->hosts[i].name, TYPE_A);
        lookup_add(r->lookup, r->hosts[i].name, TYPE_AAAA);
    }
}

static struct slice tlsa_name(struct route *r, struct slice base) { return slice_of(arena_printf(r->arena, "_25._tcp.%.*s", SLICE_FMT(base))); }

/* TLSA records are only looked for where the MX and the host's addresses are secure (RFC 7672 §2.2): at the end of the host's alias chain first, then at its
 * name. */
static void ask_tlsa(struct route *r) {
    for (size_t i = 0; i < r->count; i++) {
        struct host *h = &r->hosts[i];
        const struct answer *a = lookup_answer(r->lookup, h->name, TYPE_A), *aaaa = lookup_answer(r->lookup, h->name, TYPE_AAAA);
        h->secure = r->mx_secure && (a->security == ANSWER_SECURE || a->status == ANSWER_FAILED) &&
                    (aaaa->security == ANSWER_SECURE || aaaa->status == ANSWER_FAILED) && (a->status == ANSWER_OK || aaaa->status == ANSWER_OK);
        if (!h->secure) continue;
        struct slice canonical = a->status == ANSWER_OK ? a->canonical : aaaa->canonical;
        h->tlsa_at = tlsa_name(r, canonical);
        lookup_add(r->lookup, h->tlsa_at, TYPE_TLSA);
        if (!slice_equal_nocase(canonical, h->name)) {
            h->tlsa_second = tlsa_name(r, h->name);
            lookup_add(r->lookup, h->tlsa_second, TYPE_TLSA);
        }
    }
}

static void add_addresses(json_t *list, const struct answer *a) {
    char text[64];
    for (size_t i = 0; a->status == ANSWER_OK && i < a->count && json_array_size(list) < ROUTE_ADDRESSES_MAX; i++)
        json_array_append_new(list, json_string(domain_address_text(a->records[i].data, text)));
}

static void add_tlsa(struct arena *arena, json_t *list, const struct answer *a) {
    for (size_t i = 0; i < a->count && i < 16; i++) {
        struct slice data = a->records[i].data;
        if (data.n < 4) continue;
        const unsigned char *b = (const unsigned char *)data.p;
        char *hex = arena_alloc(arena, data.n * 2 + 1);
        for (size_t k = 3; k < data.n; k++) snprintf(hex + (k - 3) * 2, 3, "%02x", b[k]);
        json_array_append_new(list, json_pack("{s:i,s:i,s:i,s:s}", "usage", b[0], "selector", b[1], "matching", b[2], "data_hex", hex));
    }
}

/* The host's part of the reply; NULL when it cannot be used, with r->unusable. */
static json_t *host_reply(struct route *r, const struct host *h) {
    const struct answer *a = lookup_answer(r->lookup, h->name, TYPE_A), *aaaa = lookup_answer(r->lookup, h->name, TYPE_AAAA);
    const struct answer *tlsa = NULL;
    if (h->tlsa_at.n) {
        tlsa = lookup_answer(r->lookup, h->tlsa_at, TYPE_TLSA);
        if (tlsa->status != ANSWER_OK && tlsa->status != ANSWER_FAILED && h->tlsa_second.n) tlsa = lookup_answer(r->lookup, h->tlsa_second, TYPE_TLSA);
        if (tlsa->status == ANSWER_FAILED) { /* RFC 7672 §2.1.1: whether there are TLSA records is unknown, so the host must not be used */
            r->unusable = reason_text(r, "TLSA", h->name, tlsa);
            return NULL;
        }
    }
    json_t *addresses = json_array();
    add_addresses(addresses, a);
    add_addresses(addresses, aaaa);
    if (json_array_size(addresses) == 0) {
        const struct answer *failed = a->status == ANSWER_FAILED ? a : aaaa;
        if (failed->status == ANSWER_FAILED) r->unusable = reason_text(r, "address", h->name, failed);
        json_decref(addresses);
        return NULL;
    }
    json_t *list = json_array();
    if (tlsa && tlsa->status == ANSWER_OK && tlsa->security == ANSWER_SECURE) add_tlsa(r->arena, list, tlsa);
    return json_pack("{s:s%,s:i,s:o,s:o,s:s}", "name", h->name.p, h->name.n, "preference", (int)h->preference, "addresses", addresses, "tlsa", list, "dnssec",
                     h->secure ? "secure" : "insecure");
}

static void conclude_hosts(struct route *r) {
    const struct answer *mx = lookup_answer(r->lookup, slice_of(r->domain), TYPE_MX);
    const struct answer *rpt = lookup_answer(r->lookup, r->tls_rpt_name, TYPE_TXT);
    json_t *hosts = json_array();
    for (size_t i = 0; i < r->count; i++) {
        json_t *one = host_reply(r, &r->hosts[i]);
        if (one) json_array_append_new(hosts, one);
    }
    json_t *reply;
    if (json_array_size(hosts)) {
        reply = reply_create("ok", dnssec_text(mx), NULL);
    } else if (r->unusable) {
        reply = reply_create("tempfail", dnssec_text(mx), r->unusable);
    } else {
        reply = reply_create("nxdomain", dnssec_text(mx), r->implicit ? "the domain has neither MX nor address" : "no MX host of the domain has an address");
    }
    json_object_set_new(reply, "hosts", hosts);
    for (size_t i = 0; rpt && rpt->status == ANSWER_OK && i < rpt->count; i++) { /* RFC 8460 §3 */
        if (!slice_starts(rpt->records[i].data, SLICE("v=TLSRPTv1;"))) continue;
        json_t *text = json_stringn(rpt->records[i].data.p, rpt->records[i].data.n);
        if (text) json_object_set_new(reply, "tls_rpt", text);
        break;
    }
    conclude(r, reply);
}

static void proceed(void *ctx) {
    struct route *r = ctx;
    for (;;) {
        switch (r->step) {
        case STEP_MX: {
            struct answer *mx = answer_copy(r->arena, lookup_answer(r->lookup, slice_of(r->domain), TYPE_MX));
            if (!take_mx(r, mx)) return;
            ask_addresses(r);
            r->step = STEP_ADDRESSES;
            break;
        }
        case STEP_ADDRESSES:
            ask_tlsa(r);
            r->step = STEP_TLSA;
            break;
        case STEP_TLSA: conclude_hosts(r); return;
        }
        if (!lookup_run(r->lookup)) return;
    }
}

static void answer_literal(struct bus_call *call, struct slice domain, const char *address) {
    bus_answer(call, json_pack("{s:s,s:s,s:[{s:s%,s:i,s:[s],s:[],s:s}],s:n,s:n}", "result", "ok", "dnssec", "insecure", "hosts", "name", domain.p, domain.n,
                               "preference", 0, "addresses", address, "tlsa", "dnssec", "insecure", "mta_sts", "tls_rpt"));
}

static void on_route(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *v = ctx;
    char address[64], name[DOMAIN_MAX];
    struct slice domain = ask_text(ask, "domain");
    if (domain_literal_address(domain, address) == 0) {
        answer_literal(call, domain, address);
        return;
    }
    if (domain_to_ascii(domain, name)) {
        bus_refuse(call, "invalid", "not a domain name");
        return;
    }
    if (!verifier_begin(v, call)) return;
    struct route *r = memory_alloc(sizeof *r);
    struct timeval timeout = {ROUTE_TIMEOUT_MS / 1000, 0};
    r->verifier = v;
    r->call = call;
    r->arena = arena_create();
    memcpy(r->domain, name, sizeof r->domain);
    r->lookup = lookup_create(v->resolver, r->arena, 4 + 6 * ROUTE_HOSTS_MAX, proceed, r);
    r->timer = event_new(v->worker->base, -1, 0, on_timeout, r);
    if (!r->timer) memory_exhausted();
    event_add(r->timer, &timeout);
    r->tls_rpt_name = slice_of(arena_printf(r->arena, "_smtp._tls.%s", name));
    lookup_add(r->lookup, slice_of(r->domain), TYPE_MX);
    lookup_add(r->lookup, r->tls_rpt_name, TYPE_TXT);
    sts_find(v->sts, slice_of(r->domain), on_policy, r);
    if (lookup_run(r->lookup)) proceed(r);
}

void route_serve(struct verifier *v) { bus_serve(v->worker->bus, "route", on_route, v); }
