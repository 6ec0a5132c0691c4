/* Zones of hosted domains below another hosted domain's zone, on one server: the upper zone has to
 * delegate them (NS) and name their keys (DS); otherwise a validating resolver gets proof from the
 * upper zone that the name does not exist. */
#include <stdio.h>
#include <stdlib.h>

#include "services/verifier/zone/update.h"

struct listing {
    const char *name;
    ldns_rr_list *list;
};

static void add_ds(void *ctx, const char *ds) {
    struct listing *l = ctx;
    struct buf text = {0};
    ldns_rr *rr = NULL;
    buf_printf(&text, "%s. %d IN DS %s", l->name, (int)RECORDS_TTL, ds);
    if (ldns_rr_new_frm_str(&rr, buf_str(&text), 0, NULL, NULL) == LDNS_STATUS_OK) ldns_rr_list_push_rr(l->list, rr);
    buf_free(&text);
}

static void push_rrset_deletion(ldns_rr_list *changes, const char *name, ldns_rr_type type) { /* RFC 2136 §2.5.2 */
    ldns_rr *rr = ldns_rr_new();
    ldns_rr_set_owner(rr, ldns_dname_new_frm_str(name));
    ldns_rr_set_type(rr, type);
    ldns_rr_set_class(rr, LDNS_RR_CLASS_ANY);
    ldns_rr_set_ttl(rr, 0);
    ldns_rr_list_push_rr(changes, rr);
}

static int ask_records(struct dns_server *s, const char *name, ldns_rr_type type, ldns_rr_list **out,
                       char reason[DNS_REASON_MAX]) {
    ldns_pkt *answer = dns_server_ask(s, name, type, reason);
    if (!answer) return -1;
    *out = dns_server_records(answer, name, type, LDNS_SECTION_ANSWER);
    ldns_pkt_free(answer);
    return 0;
}

/* Questions for DS are answered by the upper zone, all others by the lower (RFC 4035 §3.1.4.1): so
 * the DS records tell whether the delegation exists. */
static int delegate(struct dns_server *s, const char *zone, const char *child, ldns_rr_list *ds,
                    char reason[DNS_REASON_MAX]) {
    ldns_rr_list *there = NULL, *ns = NULL, *changes = ldns_rr_list_new();
    int error = ask_records(s, child, LDNS_RR_TYPE_DS, &there, reason);
    if (!error) error = ask_records(s, child, LDNS_RR_TYPE_NS, &ns, reason);
    ldns_rr_list_sort(there);
    ldns_rr_list_sort(ds);
    if (!error && (ldns_rr_list_rr_count(ds) == 0 || ldns_rr_list_compare(there, ds) != 0)) {
        push_rrset_deletion(changes, child, LDNS_RR_TYPE_DS);
        for (size_t i = 0; i < ldns_rr_list_rr_count(ns); i++)
            ldns_rr_list_push_rr(changes, ldns_rr_clone(ldns_rr_list_rr(ns, i)));
        for (size_t i = 0; i < ldns_rr_list_rr_count(ds); i++)
            ldns_rr_list_push_rr(changes, ldns_rr_clone(ldns_rr_list_rr(ds, i)));
        error = dns_server_update(s, zone, changes, reason);
    }
    ldns_rr_list_deep_free(changes);
    ldns_rr_list_deep_free(there);
    ldns_rr_list_deep_free(ns);
    return error;
}

int update_delegate(const struct update_server *server, const char *domain, size_t n, const char *const children[],
                    char reason[DNS_REASON_MAX]) {
    char zone[DNS_NAME_BYTES];
    if (n == 0) return 0;
    struct dns_server *s = dns_server_open(&server->dns, reason);
    if (!s) return UPDATE_UNREACHABLE;
    int error = dns_server_zone_of(s, domain, zone, reason);
    bool own = error == 0 && strcasecmp(zone, domain) == 0;
    error = error < 0 ? UPDATE_FAILED : 0;
    for (size_t i = 0; i < n && own && !error; i++) {
        int found = dns_server_zone_of(s, children[i], zone, reason);
        if (found < 0) error = UPDATE_FAILED;
        if (found != 0 || strcasecmp(zone, children[i]) != 0) continue; /* the child's records are in this zone */
        struct listing l = {children[i], ldns_rr_list_new()};
        error = update_ds(server, children[i], add_ds, &l, reason);
        if (!error) error = delegate(s, domain, children[i], l.list, reason);
        ldns_rr_list_deep_free(l.list);
    }
    dns_server_close(s);
    return error;
}

int update_undelegate(struct dns_server *s, const char *child, char reason[DNS_REASON_MAX]) {
    char zone[DNS_NAME_BYTES];
    const char *dot = strchr(child, '.');
    int error = dot ? dns_server_zone_of(s, dot + 1, zone, reason) : 1;
    if (error) return error < 0 ? UPDATE_FAILED : 0; /* this server has no zone above it */
    ldns_rr_list *changes = ldns_rr_list_new();
    push_rrset_deletion(changes, child, LDNS_RR_TYPE_DS);
    push_rrset_deletion(changes, child, LDNS_RR_TYPE_NS);
    error = dns_server_update(s, zone, changes, reason);
    ldns_rr_list_deep_free(changes);
    return error;
}
