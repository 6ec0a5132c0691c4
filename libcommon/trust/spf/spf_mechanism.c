/* The comparison of each mechanism with the client (RFC 7208 §5). */
#include <arpa/inet.h>

#include "libcommon/trust/spf/spf_mechanism.h"
#include "libcommon/trust/spf/spf_step.h"

enum { NAME_MAX_BYTES = 253, LABEL_MAX = 63 };

bool spf_is_dns_name(struct slice name) {
    size_t label = 0;
    for (size_t i = 0; i < name.n && name.n <= NAME_MAX_BYTES; i++) {
        if (name.p[i] != '.') {
            if (++label > LABEL_MAX) return false;
        } else {
            if (!label) return false;
            label = 0;
        }
    }
    return label > 0;
}

const struct trust_answer *spf_lookup(struct spf_run *r, struct slice name, int type) {
    static const struct trust_answer nothing = {.status = TRUST_DNS_NXDOMAIN};
    const struct trust_answer *a = spf_is_dns_name(name) ? r->dns->lookup(r->dns->ctx, name, type) : &nothing;
    if (a && a->status == TRUST_DNS_FAILED && a->late) r->late = true;
    return a;
}

static const char *type_text(int type) {
    return type == TRUST_A ? "A" : type == TRUST_AAAA ? "AAAA" : type == TRUST_MX ? "MX" : "PTR";
}

enum spf_step spf_ask(struct spf_run *r, struct slice name, int type, const struct trust_answer **answer) {
    const struct trust_answer *a = *answer = spf_lookup(r, name, type);
    if (!a) return SPF_STOP_PENDING;
    if (a->status == TRUST_DNS_OK) return SPF_NO_MATCH;
    if (r->late) return spf_unsure(r, SPF_TOO_LATE);
    if (a->status == TRUST_DNS_FAILED) /* §5 */
        return spf_unsure(r, arena_printf(r->arena, "DNS gave no answer for %s %s",
                                          spf_printable(r->arena, name, SPF_NAME_SHOWN_MAX), type_text(type)));
    if (!spf_is_dns_name(name)) {
        spf_step(r, "%s is no name that DNS can hold", spf_printable(r->arena, name, SPF_NAME_SHOWN_MAX));
        return SPF_NO_MATCH;
    }
    spf_step(r, "%s %s: %s", spf_printable(r->arena, name, SPF_NAME_SHOWN_MAX), type_text(type),
             a->status == TRUST_DNS_NXDOMAIN ? "no such name" : "no such record");
    if (++r->out->void_lookups > SPF_VOID_MAX)
        return spf_wrong(r, "more than two lookups found nothing (RFC 7208 section 4.6.4)");
    return SPF_NO_MATCH;
}

static bool address_fits(const struct spf_run *r, const unsigned char *address, int bits) {
    if (memcmp(r->ip, address, (size_t)bits / 8) != 0) return false;
    return bits % 8 == 0 || ((r->ip[bits / 8] ^ address[bits / 8]) & (0xff << (8 - bits % 8) & 0xff)) == 0;
}

/* Whether an address of the answer, which has the client's family, is in the same network as the
 * client. */
static bool answer_fits(const struct spf_run *r, const struct trust_answer *a, int bits) {
    for (size_t i = 0; i < a->count && a->status == TRUST_DNS_OK; i++)
        if (a->records[i].data.n == (r->v6 ? 16u : 4u) &&
            address_fits(r, (const unsigned char *)a->records[i].data.p, bits))
            return true;
    return false;
}

static enum spf_step name_fits(struct spf_run *r, struct slice name, const struct spf_term *t) {
    const struct trust_answer *a;
    int bits = r->v6 ? t->cidr6 : t->cidr4;
    enum spf_step s = spf_ask(r, name, r->v6 ? TRUST_AAAA : TRUST_A, &a);
    if (s != SPF_NO_MATCH || a->status != TRUST_DNS_OK) return s;
    bool fits = answer_fits(r, a, bits);
    spf_step(r, "%s has %s: by the first %d bits %s is %s", spf_printable(r->arena, name, SPF_NAME_SHOWN_MAX),
             spf_addresses_text(r, a), bits, r->ip_text, fits ? "there" : "not there");
    return fits ? SPF_MATCH : SPF_NO_MATCH;
}

/* §5.4. The hosts are tried by preference; a domain without MX has no implicit MX here. */
static enum spf_step mechanism_mx(struct spf_run *r, struct slice name, const struct spf_term *t) {
    const struct trust_answer *a;
    const struct trust_record *hosts[SPF_ADDRESSES_MAX];
    size_t count = 0;
    enum spf_step s = spf_ask(r, name, TRUST_MX, &a);
    if (s != SPF_NO_MATCH || a->status != TRUST_DNS_OK) return s;
    if (a->count > SPF_ADDRESSES_MAX) return spf_wrong(r, "an mx has more than ten hosts (RFC 7208 section 4.6.4)");
    for (size_t i = 0; i < a->count; i++) {
        if (!a->records[i].data.n) continue; /* null MX (RFC 7505) */
        size_t at = count++;
        for (; at && hosts[at - 1]->preference > a->records[i].preference; at--) hosts[at] = hosts[at - 1];
        hosts[at] = &a->records[i];
    }
    for (size_t i = 0; i < count; i++) {
        spf_step(r, "%s MX: %u %s", spf_printable(r->arena, name, SPF_NAME_SHOWN_MAX), hosts[i]->preference,
                 spf_printable(r->arena, hosts[i]->data, SPF_NAME_SHOWN_MAX));
        s = name_fits(r, hosts[i]->data, t);
        if (s == SPF_STOP_PENDING) /* all remaining hosts are requested at once */
            while (++i < count) spf_lookup(r, hosts[i]->data, r->v6 ? TRUST_AAAA : TRUST_A);
        if (s != SPF_NO_MATCH) return s;
    }
    return SPF_NO_MATCH;
}

static struct slice reverse_name(struct spf_run *r) {
    struct buf b = {0};
    if (r->v6)
        for (int i = 15; i >= 0; i--) buf_printf(&b, "%x.%x.", r->ip[i] & 15, r->ip[i] >> 4);
    else
        for (int i = 3; i >= 0; i--) buf_printf(&b, "%d.", r->ip[i]);
    buf_add_str(&b, r->v6 ? "ip6.arpa" : "in-addr.arpa");
    struct slice name = arena_slice(r->arena, buf_slice(&b));
    buf_free(&b);
    return name;
}

static bool is_within(struct slice name, struct slice domain) {
    return slice_equal_nocase(name, domain) || (name.n > domain.n && name.p[name.n - domain.n - 1] == '.' &&
                                                slice_equal_nocase(slice_skip(name, name.n - domain.n), domain));
}

/* The validated name of the client (§5.5) that is best for a domain (§7.3, p): the domain itself,
 * else a name below it (*within for both), else any; empty when there is none. False: pending.
 * Errors and void lookups of these names are not counted, because the client chooses the names. */
static bool best_name(struct spf_run *r, const struct trust_answer *names, struct slice domain, struct slice *best,
                      bool *within) {
    bool pending = false;
    *best = SLICE(""), *within = false;
    for (size_t i = 0; i < names->count && i < SPF_ADDRESSES_MAX && names->status == TRUST_DNS_OK; i++) {
        struct slice name = names->records[i].data;
        const struct trust_answer *back = spf_lookup(r, name, r->v6 ? TRUST_AAAA : TRUST_A);
        if (!back) {
            pending = true; /* and all others are requested too */
            continue;
        }
        bool leads_back = answer_fits(r, back, r->v6 ? 128 : 32);
        spf_step(r, "%s is called %s, which %s", r->ip_text, spf_printable(r->arena, name, SPF_NAME_SHOWN_MAX),
                 leads_back ? "leads back to it" : "does not lead back to it");
        if (!leads_back) continue;
        bool fits = is_within(name, domain);
        if (!best->n || (fits && !*within) || (fits && slice_equal_nocase(name, domain))) *best = name;
        *within = *within || fits;
    }
    return !pending;
}

static enum spf_step mechanism_ptr(struct spf_run *r, struct slice target) {
    const struct trust_answer *names = spf_lookup(r, reverse_name(r), TRUST_PTR);
    struct slice best;
    bool within;
    if (!names) return SPF_STOP_PENDING;
    r->names_asked = true;
    if (r->late) return spf_unsure(r, SPF_TOO_LATE);
    if (names->status == TRUST_DNS_FAILED) { /* §5.5: then it does not match */
        spf_step(r, "DNS gave no answer for the names of %s", r->ip_text);
        return SPF_NO_MATCH;
    }
    enum spf_step s = spf_ask(r, reverse_name(r), TRUST_PTR, &names); /* a void lookup when there are none */
    if (s != SPF_NO_MATCH) return s;
    if (!best_name(r, names, target, &best, &within)) return SPF_STOP_PENDING;
    if (r->late && !within) return spf_unsure(r, SPF_TOO_LATE);
    return within ? SPF_MATCH : SPF_NO_MATCH;
}

enum spf_step spf_validated_name(struct spf_run *r, struct slice domain, bool counted, struct slice *name) {
    const struct trust_answer *names = spf_lookup(r, reverse_name(r), TRUST_PTR);
    bool within;
    *name = SLICE("");
    if (!names) return SPF_STOP_PENDING;
    if (counted && !r->names_asked) { /* §4.6.4: the PTR query of p counts once, because its answer
                                         is the same for every p and ptr */
        r->names_asked = true;
        if (++r->out->lookups > SPF_LOOKUPS_MAX) return spf_wrong(r, SPF_TOO_MANY_TERMS);
        if (names->status != TRUST_DNS_FAILED) {
            enum spf_step s = spf_ask(r, reverse_name(r), TRUST_PTR, &names);
            if (s != SPF_NO_MATCH) return s;
        }
    }
    if (!best_name(r, names, domain, name, &within)) return SPF_STOP_PENDING;
    return r->late ? spf_unsure(r, SPF_TOO_LATE) : SPF_NO_MATCH;
}

enum spf_step spf_mechanism(struct spf_run *r, const struct spf_term *t, struct slice target) {
    const struct trust_answer *a;
    enum spf_step s;
    switch (t->kind) {
    case SPF_IP4:
    case SPF_IP6: /* §5: each matches only its own family */
        return (t->kind == SPF_IP6) == r->v6 && address_fits(r, t->address, r->v6 ? t->cidr6 : t->cidr4) ? SPF_MATCH
                                                                                                         : SPF_NO_MATCH;
    case SPF_A: return name_fits(r, target, t);
    case SPF_MX: return mechanism_mx(r, target, t);
    case SPF_PTR: return mechanism_ptr(r, target);
    default: /* exists: A, for either family of the client (§5.7) */
        s = spf_ask(r, target, TRUST_A, &a);
        if (s != SPF_NO_MATCH || a->status != TRUST_DNS_OK) return s;
        spf_step(r, "%s is there", spf_printable(r->arena, target, SPF_NAME_SHOWN_MAX));
        return SPF_MATCH;
    }
}
