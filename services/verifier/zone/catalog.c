#include "services/verifier/zone/catalog.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { POLL_MS = 50, MEMBER_BYTES = 512 };

/* Any unique label is allowed (RFC 9432 §4.1); a digest of the zone's name is always the same. */
static void member_name(const char *catalog, const char *zone, char out[MEMBER_BYTES]) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char hex[41];
    SHA256((const unsigned char *)zone, strlen(zone), digest);
    for (size_t i = 0; i < 20; i++) snprintf(hex + i * 2, 3, "%02x", digest[i]);
    snprintf(out, MEMBER_BYTES, "%s.zones.%s", hex, catalog);
}

/* 1, 0 or -1 with the reason. */
static int is_member(struct dns_server *s, const char *member, char reason[DNS_REASON_MAX]) {
    ldns_pkt *answer = dns_server_ask(s, member, LDNS_RR_TYPE_PTR, reason);
    if (!answer) return -1;
    ldns_rr_list *there = dns_server_records(answer, member, LDNS_RR_TYPE_PTR, LDNS_SECTION_ANSWER);
    int result = ldns_rr_list_rr_count(there) > 0;
    ldns_rr_list_deep_free(there);
    ldns_pkt_free(answer);
    return result;
}

static int change(struct dns_server *s, const char *catalog, ldns_rr *rr, char reason[DNS_REASON_MAX]) {
    ldns_rr_list *changes = ldns_rr_list_new();
    ldns_rr_list_push_rr(changes, rr);
    int error = dns_server_update(s, catalog, changes, reason);
    ldns_rr_list_deep_free(changes);
    return error;
}

int catalog_add(struct dns_server *s, const char *catalog, const char *zone, char reason[DNS_REASON_MAX]) {
    char member[MEMBER_BYTES], text[MEMBER_BYTES + 300], found[DNS_NAME_BYTES];
    member_name(catalog, zone, member);
    int known = is_member(s, member, reason);
    if (known < 0) return -1;
    if (!known) {
        ldns_rr *rr = NULL;
        snprintf(text, sizeof text, "%s. 0 IN PTR %s.", member, zone);
        if (ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL) != LDNS_STATUS_OK) {
            snprintf(reason, DNS_REASON_MAX, "%.200s: no name for a zone", zone);
            return -1;
        }
        if (change(s, catalog, rr, reason)) return -1;
    }
    for (int waited = 0; waited < CATALOG_WAIT_MS; waited += POLL_MS) {
        if (dns_server_zone_of(s, zone, found, reason) == 0 && strcasecmp(found, zone) == 0) return 0;
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
    }
    snprintf(reason, DNS_REASON_MAX, "%.120s: the zone is in the catalog, but the DNS server does not serve it yet",
             zone);
    return -1;
}

int catalog_remove(struct dns_server *s, const char *catalog, const char *zone, char reason[DNS_REASON_MAX]) {
    char member[MEMBER_BYTES];
    member_name(catalog, zone, member);
    int known = is_member(s, member, reason);
    if (known <= 0) return known;
    ldns_rr *rr = ldns_rr_new(); /* RFC 2136 §2.5.2: class ANY, no data: the whole RRset is
                                    deleted */
    ldns_rr_set_owner(rr, ldns_dname_new_frm_str(member));
    ldns_rr_set_type(rr, LDNS_RR_TYPE_PTR);
    ldns_rr_set_class(rr, LDNS_RR_CLASS_ANY);
    ldns_rr_set_ttl(rr, 0);
    return change(s, catalog, rr, reason) ? -1 : 1;
}

struct listing {
    void (*each)(void *ctx, const char *zone);
    void *ctx;
};

static void on_record(void *ctx, const ldns_rr *rr) {
    struct listing *l = ctx;
    if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_PTR) return;
    char *zone = ldns_rdf2str(ldns_rr_rdf(rr, 0));
    size_t n = zone ? strlen(zone) : 0;
    if (n > 1) {
        zone[n - 1] = '\0';
        for (char *c = zone; *c; c++)
            if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + 32);
        l->each(l->ctx, zone);
    }
    free(zone);
}

int catalog_list(struct dns_server *s, const char *catalog, void (*each)(void *ctx, const char *zone), void *ctx,
                 char reason[DNS_REASON_MAX]) {
    struct listing l = {each, ctx};
    return dns_server_transfer(s, catalog, on_record, &l, reason);
}
