/* The route of mail for a domain: MX, addresses, TLSA, MTA-STS (steps 4 and 5 of a mail). */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "libcommon/trust/transport/tls_rpt.h"
#include "services/verifier/dns/address.h"
#include "services/verifier/policy/sts.h"
#include "services/verifier/route/route.h"

static struct metric routes = METRIC_COUNTER("postbus_verifier_routes_total", "Route requests answered");

static void proceed(void *ctx);

static void route_destroy(struct route *r) {
    event_free(r->timer);
    lookup_destroy(r->lookup);
    json_decref(r->policy);
    json_decref(r->policy_failure);
    json_decref(r->reply);
    verifier_end(r->verifier);
    arena_destroy(r->arena);
    free(r);
}

static void answer(struct route *r) {
    json_object_set_new(r->reply, "mta_sts", r->policy ? json_incref(r->policy) : json_null());
    if (r->policy_failure) json_object_set(r->reply, "mta_sts_failure", r->policy_failure);
    metric_add(&routes, 1);
    bus_answer(r->call, r->reply);
    r->reply = NULL;
}

/* Answers when both DNS and MTA-STS are complete (or the time limit has expired), and frees the
 * route when nothing refers to it any more. */
static void settle(struct route *r) {
    if (!r->answered && r->reply && (r->sts_done || !r->dns_done)) {
        r->answered = true;
        event_del(r->timer);
        answer(r);
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
    return json_pack("{s:s,s:s,s:[],s:s*,s:n}", "result", result, "dnssec", dnssec, "hosts", "reason", reason,
                     "tls_rpt");
}

static const char *dnssec_text(const struct answer *a) {
    return a->security == ANSWER_SECURE ? "secure" : a->security == ANSWER_BOGUS ? "bogus" : "insecure";
}

static void on_policy(void *ctx, const struct sts_finding *found) {
    struct route *r = ctx;
    r->sts_done = true;
    r->policy = json_incref(found->policy);
    if (found->result) r->policy_failure = json_pack("{s:s,s:s}", "result", found->result, "reason", found->reason);
    if (found->unknown && !r->answered) { /* the domain's demand for TLS must not be guessed */
        json_decref(r->reply);
        r->reply = reply_create("tempfail", found->bogus ? "bogus" : "insecure", found->unknown);
    }
    settle(r);
}

static void on_timeout(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    struct route *r = ctx;
    if (r->answered) return;
    /* the hosts may be known by now, but not the domain's demand for TLS, which must not be
     * guessed */
    const char *late = r->reply ? "the domain's MTA-STS policy is not known in time" : "no DNS answer in time";
    json_decref(r->reply);
    r->reply = reply_create("tempfail", "insecure", late);
    r->answered = true;
    answer(r);
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
    r->canonical = mx->canonical;
    switch (mx->status) {
    case ANSWER_FAILED:
        conclude(r, reply_create("tempfail", dnssec_text(mx), route_reason(r, "MX", domain, mx)));
        return false;
    case ANSWER_NXDOMAIN:
        conclude(r, reply_create("nxdomain", dnssec_text(mx), "the domain does not exist"));
        return false;
    case ANSWER_NODATA: /* RFC 5321 §5.1: the domain itself, as if it were an MX of preference 0 */
        r->implicit = true;
        r->count = 1;
        r->hosts[0] = (struct host){.name = domain};
        return true;
    case ANSWER_OK: break;
    }
    if (mx->count == 1 && mx->records[0].data.n == 0) { /* RFC 7505 §3 */
        conclude(r, reply_create("null_mx", dnssec_text(mx), "the domain does not accept mail (RFC 7505)"));
        return false;
    }
    qsort(mx->records, mx->count, sizeof *mx->records, by_preference);
    for (size_t i = 0; i < mx->count && r->count < ROUTE_HOSTS_MAX; i++) {
        struct slice name = mx->records[i].data;
        /* This host is in the list: hosts that are not preferred to it would cause a loop (RFC 5321
         * §5.1). */
        if (slice_is_nocase(name, r->verifier->worker->hostname)) {
            while (r->count && r->hosts[r->count - 1].preference == mx->records[i].preference) r->count--;
            if (r->count == 0) {
                conclude(
                    r, reply_create("tempfail", dnssec_text(mx),
                                    "the domain's MX is this server, which does not host the domain: mail loops back"));
                return false;
            }
            break;
        }
        if (name.n) r->hosts[r->count++] = (struct host){.name = name, .preference = mx->records[i].preference};
    }
    return true;
}

/* RFC 8460 §3: the text of the record if there is exactly one and it is well-formed. */
static json_t *tls_rpt_reply(const struct answer *txt) {
    struct slice only = SLICE(""), rua;
    size_t count = 0;
    for (size_t i = 0; txt->status == ANSWER_OK && i < txt->count; i++)
        if (tls_rpt_record_is(txt->records[i].data)) only = txt->records[i].data, count++;
    return count == 1 && tls_rpt_record_parse(only, &rua) == 0 ? json_stringn(only.p, only.n) : json_null();
}

static void conclude_hosts(struct route *r) {
    const struct answer *mx = lookup_answer(r->lookup, slice_of(r->domain), TYPE_MX);
    const struct answer *rpt = lookup_answer(r->lookup, r->tls_rpt_name, TYPE_TXT);
    json_t *hosts = json_array(), *left_out = json_array();
    for (size_t i = 0; i < r->count; i++) {
        json_t *one = route_host_reply(r, &r->hosts[i], left_out);
        if (one) json_array_append_new(hosts, one);
    }
    json_t *reply;
    if (json_array_size(hosts)) {
        reply = reply_create("ok", dnssec_text(mx), NULL);
    } else if (r->unusable) {
        reply = reply_create("tempfail", dnssec_text(mx), r->unusable);
    } else {
        reply = reply_create("nxdomain", dnssec_text(mx),
                             r->implicit ? "the domain has neither MX nor address"
                                         : "no MX host of the domain has an address");
    }
    json_object_set_new(reply, "hosts", hosts);
    if (json_array_size(left_out))
        json_object_set_new(reply, "left_out", left_out);
    else
        json_decref(left_out);
    json_object_set_new(reply, "tls_rpt", tls_rpt_reply(rpt));
    conclude(r, reply);
}

static void proceed(void *ctx) {
    struct route *r = ctx;
    for (;;) {
        switch (r->step) {
        case STEP_MX: {
            struct answer *mx = answer_copy(r->arena, lookup_answer(r->lookup, slice_of(r->domain), TYPE_MX));
            if (!take_mx(r, mx)) return;
            route_ask_addresses(r);
            r->step = STEP_ADDRESSES;
            break;
        }
        case STEP_ADDRESSES:
            route_ask_aliases(r);
            r->step = STEP_ALIASES;
            break;
        case STEP_ALIASES:
            route_ask_tlsa(r);
            r->step = STEP_TLSA;
            break;
        case STEP_TLSA: conclude_hosts(r); return;
        }
        if (!lookup_run(r->lookup)) return;
    }
}

static void answer_literal(struct bus_call *call, struct slice domain, const char *address) {
    bus_answer(call, json_pack("{s:s,s:s,s:[{s:s%,s:i,s:[s],s:[],s:s}],s:n,s:n}", "result", "ok", "dnssec", "insecure",
                               "hosts", "name", domain.p, domain.n, "preference", 0, "addresses", address, "tlsa",
                               "dnssec", "insecure", "mta_sts", "tls_rpt"));
}

static void on_route(void *ctx, struct bus_call *call, const json_t *ask) {
    struct verifier *v = ctx;
    char address[64], name[DOMAIN_BYTES];
    struct slice domain = member_slice(ask, "domain");
    if (domain_literal_address(domain, address) == 0) {
        answer_literal(call, domain, address);
        return;
    }
    if (domain_normalise(domain, name)) {
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
