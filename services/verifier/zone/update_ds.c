/* The DS records for the parent of a signed zone. */
#include <stdlib.h>

#include "services/verifier/zone/update.h"

/* A record's data in presentation format. */
static void tell_data(const ldns_rr *rr, void (*each)(void *ctx, const char *ds), void *ctx) {
    struct buf out = {0};
    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        char *part = ldns_rdf2str(ldns_rr_rdf(rr, i));
        if (i) buf_add_char(&out, ' ');
        buf_add_str(&out, part ? part : "");
        free(part);
    }
    each(ctx, buf_str(&out));
    buf_free(&out);
}

static int ask(struct dns_server *s, const char *domain, ldns_rr_type type, ldns_rr_list **out,
               char reason[DNS_REASON_MAX]) {
    ldns_pkt *answer = dns_server_ask(s, domain, type, reason);
    if (!answer) return -1;
    *out = dns_server_records(answer, domain, type, LDNS_SECTION_ANSWER);
    ldns_pkt_free(answer);
    return 0;
}

int update_ds(const struct update_server *server, const char *domain, void (*each)(void *ctx, const char *ds),
              void *ctx, char reason[DNS_REASON_MAX]) {
    char zone[DNS_NAME_BYTES];
    struct dns_server *s = dns_server_open(&server->dns, reason);
    if (!s) return UPDATE_UNREACHABLE;
    ldns_rr_list *cds = NULL, *keys = NULL;
    int error = dns_server_zone_of(s, domain, zone, reason);
    if (error || strcasecmp(zone, domain) != 0) {
        dns_server_close(s);
        return error < 0 ? -1 : 0;
    }
    error = ask(s, domain, LDNS_RR_TYPE_CDS, &cds, reason);
    for (size_t i = 0; i < ldns_rr_list_rr_count(cds); i++) tell_data(ldns_rr_list_rr(cds, i), each, ctx);
    if (!error && ldns_rr_list_rr_count(cds) == 0) error = ask(s, domain, LDNS_RR_TYPE_DNSKEY, &keys, reason);
    for (size_t i = 0; i < ldns_rr_list_rr_count(keys); i++) {
        const ldns_rr *key = ldns_rr_list_rr(keys, i);
        if (!(ldns_rdf2native_int16(ldns_rr_rdf(key, 0)) & LDNS_KEY_SEP_KEY)) continue; /* RFC 4034 §2.1.1 */
        ldns_rr *ds = ldns_key_rr2ds(key, LDNS_SHA256);
        if (ds) tell_data(ds, each, ctx);
        ldns_rr_free(ds);
    }
    ldns_rr_list_deep_free(cds);
    ldns_rr_list_deep_free(keys);
    dns_server_close(s);
    return error;
}
