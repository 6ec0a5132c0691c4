/* The addresses of each host of a route, and its TLSA records if DNSSEC validates the names that
 * lead to them (RFC 7672 §2.2). */
#include <stdio.h>

#include "libcommon/base/config.h"
#include "libcommon/trust/transport/dane.h"
#include "services/verifier/dns/address.h"
#include "services/verifier/dns/stub_zones.h"
#include "services/verifier/route/route.h"

char *route_reason(struct route *r, const char *what, struct slice name, const struct answer *a) {
    return arena_printf(r->arena, "%s of %.*s: %.*s", what, SLICE_FMT(name), SLICE_FMT(a->reason));
}

void route_ask_addresses(struct route *r) {
    for (size_t i = 0; i < r->count; i++) {
        lookup_add(r->lookup, r->hosts[i].name, TYPE_A);
        lookup_add(r->lookup, r->hosts[i].name, TYPE_AAAA);
    }
}

static bool is_secure(const struct answer *a) { return a->security == ANSWER_SECURE; }

/* Whether all addresses that will be used are secure; a family whose lookup failed is not used. */
static bool has_secure_addresses(const struct answer *a, const struct answer *aaaa) {
    return (a->status == ANSWER_OK || aaaa->status == ANSWER_OK) && (is_secure(a) || a->status == ANSWER_FAILED) &&
           (is_secure(aaaa) || aaaa->status == ANSWER_FAILED);
}

void route_ask_aliases(struct route *r) {
    for (size_t i = 0; i < r->count; i++) {
        struct host *h = &r->hosts[i];
        const struct answer *a = lookup_answer(r->lookup, h->name, TYPE_A),
                            *aaaa = lookup_answer(r->lookup, h->name, TYPE_AAAA);
        if (!r->mx_secure || (a->status != ANSWER_OK && aaaa->status != ANSWER_OK)) continue;
        struct slice canonical = a->status == ANSWER_OK ? a->canonical : aaaa->canonical;
        bool alias = !slice_equal_nocase(canonical, h->name);
        h->secure = has_secure_addresses(a, aaaa);
        if (h->secure) { /* RFC 7672 §2.2.2: at the end of the alias chain first, then at the host's
                            own name */
            h->bases[0] = canonical;
            if (alias) h->bases[1] = h->name;
        } else if (alias) {
            h->aliased = true;
            lookup_add(r->lookup, h->name, TYPE_CNAME);
        }
    }
}

static struct slice tlsa_name(struct route *r, struct slice base) {
    return slice_of(arena_printf(r->arena, "_25._tcp.%.*s", SLICE_FMT(base)));
}

void route_ask_tlsa(struct route *r) {
    for (size_t i = 0; i < r->count; i++) {
        struct host *h = &r->hosts[i];
        const struct answer *alias = h->aliased ? lookup_answer(r->lookup, h->name, TYPE_CNAME) : NULL;
        /* RFC 7672 §2.2.2: the alias is secure although its target is not, so the host's own name
         * may have TLSA records */
        if (alias && alias->status == ANSWER_OK && is_secure(alias)) h->bases[0] = h->name;
        for (size_t k = 0; k < TLSA_BASES_MAX && h->bases[k].n; k++)
            lookup_add(r->lookup, tlsa_name(r, h->bases[k]), TYPE_TLSA);
    }
}

static void add_addresses(json_t *list, const struct answer *a) {
    char text[64];
    for (size_t i = 0; a->status == ANSWER_OK && i < a->count && json_array_size(list) < ROUTE_ADDRESSES_MAX; i++)
        json_array_append_new(list, json_string(domain_address_text(a->records[i].data, text)));
}

static json_t *tlsa_reply(struct arena *arena, const struct answer *a) {
    json_t *list = json_array();
    for (size_t i = 0; i < a->count && json_array_size(list) < DANE_RECORDS_MAX; i++) {
        struct dane_record t;
        if (dane_record_parse(a->records[i].data, &t)) continue;
        char *hex = arena_alloc(arena, t.data.n * 2 + 1);
        for (size_t k = 0; k < t.data.n; k++) snprintf(hex + k * 2, 3, "%02x", (unsigned char)t.data.p[k]);
        json_array_append_new(list, json_pack("{s:i,s:i,s:i,s:s}", "usage", t.usage, "selector", t.selector, "matching",
                                              t.matching, "data_hex", hex));
    }
    return list;
}

/* RFC 8460 §4.3.2.1: dnssec-invalid, when data that DNSSEC should validate could not be
 * resolved. */
static void leave_out(struct route *r, const struct host *h, json_t *left_out, const char *what,
                      const struct answer *failed, bool for_dnssec) {
    r->unusable = route_reason(r, what, h->name, failed);
    if (for_dnssec)
        json_array_append_new(left_out, json_pack("{s:s%,s:s,s:s}", "name", h->name.p, h->name.n, "result",
                                                  "dnssec-invalid", "reason", r->unusable));
}

/* The names with which a certificate is compared, the TLSA base domain first. */
static json_t *names_reply(const struct route *r, struct slice base) {
    struct slice names[DANE_NAMES_MAX];
    size_t n = dane_reference_names(base, slice_of(r->domain), r->canonical, names);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_stringn(names[i].p, names[i].n));
    return list;
}

json_t *route_host_reply(struct route *r, const struct host *h, json_t *left_out) {
    const struct answer *a = lookup_answer(r->lookup, h->name, TYPE_A),
                        *aaaa = lookup_answer(r->lookup, h->name, TYPE_AAAA);
    if (a->status != ANSWER_OK && aaaa->status != ANSWER_OK) {
        const struct answer *failed = a->status == ANSWER_FAILED ? a : aaaa;
        if (failed->status == ANSWER_FAILED)
            leave_out(r, h, left_out, "address", failed, failed->security == ANSWER_BOGUS);
        return NULL;
    }
    const struct answer *alias = h->aliased ? lookup_answer(r->lookup, h->name, TYPE_CNAME) : NULL;
    if (alias && alias->status == ANSWER_FAILED) { /* RFC 7672 §2.1.1: it is unknown whether DANE
                                                      applies to this host, so the host must not be
                                                      used */
        leave_out(r, h, left_out, "CNAME", alias, true);
        return NULL;
    }
    json_t *tlsa = NULL, *names = NULL, *addresses = json_array();
    for (size_t k = 0; k < TLSA_BASES_MAX && h->bases[k].n && !tlsa; k++) {
        const struct answer *t = lookup_answer(r->lookup, tlsa_name(r, h->bases[k]), TYPE_TLSA);
        if (!t || t->status == ANSWER_FAILED) { /* the same for its TLSA records */
            static const struct answer too_many = {.status = ANSWER_FAILED,
                                                   .reason = {"not asked: too many questions", 29}};
            leave_out(r, h, left_out, "TLSA", t ? t : &too_many, true);
            json_decref(addresses);
            return NULL;
        }
        if (t->status != ANSWER_OK || !is_secure(t)) continue;
        tlsa = tlsa_reply(r->arena, t);
        names = names_reply(r, h->bases[k]);
    }
    add_addresses(addresses, a);
    add_addresses(addresses, aaaa);
    json_t *reply = json_pack("{s:s%,s:i,s:o,s:s}", "name", h->name.p, h->name.n, "preference", (int)h->preference,
                              "addresses", addresses, "dnssec", h->secure ? "secure" : "insecure");
    json_object_set_new(reply, "tlsa", tlsa ? tlsa : json_array());
    if (names) json_object_set_new(reply, "tlsa_names", names);
    if (stub_zones_have(config_text("POSTBUS_RESOLVER_STUBS", ""), h->name))
        json_object_set_new(reply, "own_zone", json_true());
    return reply;
}
