#include "services/delivery/tls/tls_demand.h"

#include <sodium.h>

#include "libcommon/base/member.h"
#include "libcommon/mail/domain.h"
#include "libcommon/mail/header.h"
#include "libcommon/trust/transport/mta_sts.h"

bool tls_message_waives(struct slice message) {
    size_t body;
    struct slice block = header_block(message, &body);
    struct header_field field;
    return header_count(block, "TLS-Required") == 1 && header_find(block, "TLS-Required", &field) &&
           slice_is_nocase(slice_trim(field.value), "no");
}

bool tls_list_names(struct slice list, struct slice domain) {
    char wanted[DOMAIN_BYTES], here[DOMAIN_BYTES];
    struct slice one;
    if (!list.n || domain_normalise(domain, wanted)) return false;
    for (bool more = true; more;) {
        more = slice_cut(&list, ',', &one);
        if (domain_normalise(slice_trim(more ? one : list), here) == 0 && strcmp(here, wanted) == 0) return true;
    }
    return false;
}

static unsigned char number_of(const json_t *object, const char *name) {
    return (unsigned char)json_integer_value(json_object_get(object, name));
}

static size_t read_tlsa(struct arena *arena, const json_t *list, struct dane_record records[DANE_RECORDS_MAX]) {
    size_t i, n = 0;
    const json_t *each;
    json_array_foreach((json_t *)(uintptr_t)list, i, each) {
        struct slice hex = slice_of(member_text_or_null(each, "data_hex"));
        unsigned char *bytes = arena_alloc(arena, hex.n / 2 + 1);
        size_t got = 0;
        if (n == DANE_RECORDS_MAX || sodium_hex2bin(bytes, hex.n / 2 + 1, hex.p, hex.n, NULL, &got, NULL) != 0)
            continue;
        records[n++] = (struct dane_record){number_of(each, "usage"), number_of(each, "selector"),
                                            number_of(each, "matching"), slice_make(bytes, got)};
    }
    return n;
}

/* The names for a DANE certificate are in the route; otherwise the host's own name is used. */
static void take_names(const json_t *host, bool dane, struct tls_demand *out) {
    const json_t *names = json_object_get(host, "tlsa_names");
    for (size_t i = 0; dane && i < json_array_size(names) && i < DANE_NAMES_MAX; i++)
        out->names[out->name_count++] = json_string_value(json_array_get(names, i));
    if (!out->name_count) out->names[out->name_count++] = member_text_or_null(host, "name");
}

static bool sts_names(const json_t *policy, const char *host) {
    size_t i;
    const json_t *each;
    json_array_foreach(json_object_get(policy, "mx"), i,
                       each) if (mta_sts_pattern_allows(slice_of(json_string_value(each)), slice_of(host))) return true;
    return false;
}

/* RFC 8461 §4: applied after DANE, which a policy must not override (§2). */
static void apply_sts(bool enforce, bool named, struct tls_demand *out) {
    out->policy = TLS_POLICY_STS;
    out->unlisted = !named;
    if (!enforce) return;
    out->level = TLS_PKIX;
    if (named) return;
    out->refusal = "the host is not among those that the domain's MTA-STS policy names";
    out->refusal_result = "validation-failure";
}

void tls_demand_make(struct arena *arena, const json_t *route, const json_t *host, const struct tls_wish *wish,
                     struct tls_demand *out) {
    struct dane_record records[DANE_RECORDS_MAX];
    const json_t *policy = json_object_get(route, "mta_sts");
    const char *mode = member_text_or_null(policy, "mode"), *name = member_text_or_null(host, "name"),
               *dnssec = member_text_or_null(route, "dnssec");
    *out = (struct tls_demand){.level = TLS_MAY};
    size_t count = read_tlsa(arena, json_object_get(host, "tlsa"), records);
    enum dane_demand dane = dane_choose(count, records, &out->tlsa_count, out->tlsa);
    bool waived = wish->waived && !wish->required && !wish->dane; /* RFC 8689 §4.1: the header field has no effect with
                                                                     REQUIRETLS, or on this site's own rule */
    bool enforce = mode && strcmp(mode, "enforce") == 0, testing = mode && strcmp(mode, "testing") == 0,
         named = (enforce || testing) && sts_names(policy, name);
    take_names(host, dane == DANE_VERIFY && !waived, out);
    out->waived = waived;
    if (wish->dane && dane != DANE_VERIFY) {
        out->policy = TLS_POLICY_TLSA;
        out->level = TLS_DANE;
        out->refusal = "this site sends to the domain by DANE only, and the host has no TLSA records that DNSSEC "
                       "vouches for and that can be used";
        out->refusal_result = "dane-required";
        return;
    }
    if (waived) return;
    if (dane != DANE_NONE) {
        out->policy = TLS_POLICY_TLSA;
        out->level = dane == DANE_VERIFY ? TLS_DANE : TLS_ENCRYPT;
    }
    if (dane != DANE_VERIFY && (enforce || (testing && dane == DANE_NONE))) apply_sts(enforce, named, out);
    if (wish->required && out->level != TLS_DANE) {
        /* RFC 8689 §4.2.1: the host's name must be validated by DNSSEC or MTA-STS, and its
         * certificate must be valid for it */
        out->level = TLS_PKIX;
        if (!named && !(dnssec && strcmp(dnssec, "secure") == 0))
            out->refusal =
                "REQUIRETLS was asked for, and neither DNSSEC nor MTA-STS vouches for the name of the domain's server";
    }
}
