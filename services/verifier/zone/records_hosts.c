/* The site's own hosts, in the zone of their names: addresses, SPF of their names, TLSA. */
#include "services/verifier/zone/record_list.h"

static void add_addresses(struct record_list *l, const char *name, const char *addresses, const char *purpose) {
    struct slice left = slice_of(addresses);
    const char *one;
    while ((one = record_next(l->arena, &left))) {
        int family = record_family(one);
        if (family) record_add(l, name, family == 4 ? "A" : "AAAA", one, RECORD_NEEDED, purpose);
    }
}

/* RFC 7672 §3.1.1; during a change of keys both are published, the next one for at least a TTL
 * before it is used (RFC 7671 §8.4). */
static void add_tlsa(struct record_list *l, const struct records_input *in) {
    const char *name = arena_printf(l->arena, "_25._tcp.%s", in->mail_host);
    if (*in->tlsa_hex)
        record_add(l, name, "TLSA", arena_printf(l->arena, "3 1 1 %s", in->tlsa_hex), RECORD_ADVISED,
                   "binds the mail host's TLS key to its name (DANE); needs DNSSEC");
    if (*in->tlsa_next_hex && strcmp(in->tlsa_next_hex, in->tlsa_hex) != 0)
        record_add(l, name, "TLSA", arena_printf(l->arena, "3 1 1 %s", in->tlsa_next_hex), RECORD_ADVISED,
                   "the mail host's next TLS key, published before it is used");
}

void records_add_hosts(struct record_list *l, const struct records_input *in) {
    if (record_is_inside(in->mail_host, in->domain)) {
        add_addresses(l, in->mail_host, in->addresses, "address of the mail host");
        /* The host's own name is the identity of a bounce's HELO (RFC 7208 §2.3). */
        if (strcasecmp(in->mail_host, in->domain) != 0)
            record_add(l, in->mail_host, "TXT", "\"v=spf1 a -all\"", RECORD_ADVISED,
                       "SPF of the mail host's own name, for bounces");
        add_tlsa(l, in);
    }
    struct slice left = slice_of(in->ns_names);
    const char *ns;
    while ((ns = record_next(l->arena, &left))) {
        size_t n = strlen(ns);
        if (n && ns[n - 1] == '.') ns = arena_copy(l->arena, slice_make(ns, n - 1));
        if (record_is_inside(ns, in->domain) && strcasecmp(ns, in->mail_host) != 0)
            add_addresses(l, ns, *in->ns_addresses ? in->ns_addresses : in->addresses, "address of a name server");
    }
    if (*in->outgoing_name && record_is_inside(in->outgoing_name, in->domain) &&
        strcasecmp(in->outgoing_name, in->mail_host) != 0) {
        add_addresses(l, in->outgoing_name, in->outgoing, "address that mail leaves from");
        record_add(l, in->outgoing_name, "TXT", "\"v=spf1 a -all\"", RECORD_ADVISED,
                   "SPF of the name that this site says in EHLO");
    }
}
