#include "services/verifier/update.h"

#include <ldns/ldns.h>
#include <netdb.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ZONE_POLL_MS = 50 };

static int failed(char reason[UPDATE_REASON_MAX], const char *what, const char *detail) {
    snprintf(reason, UPDATE_REASON_MAX, "%.100s: %.140s", what, detail);
    return -1;
}

/* ldns' resolver as the connection to one server; NULL with the reason. */
static ldns_resolver *open_server(const struct update_server *server, char reason[UPDATE_REASON_MAX]) {
    char host[256], address[64];
    const char *at = strchr(server->address, '@');
    int n = at ? (int)(at - server->address) : (int)strlen(server->address);
    int port = at ? atoi(at + 1) : 53;
    snprintf(host, sizeof host, "%.*s", n, server->address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error) {
        failed(reason, host, gai_strerror(error));
        return NULL;
    }
    error = getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST);
    int family = found->ai_family;
    freeaddrinfo(found);
    ldns_rdf *rdf = error ? NULL : ldns_rdf_new_frm_str(family == AF_INET6 ? LDNS_RDF_TYPE_AAAA : LDNS_RDF_TYPE_A, address);
    ldns_resolver *r = ldns_resolver_new();
    if (!rdf || !r || ldns_resolver_push_nameserver(r, rdf) != LDNS_STATUS_OK || port <= 0 || port > 65535) {
        failed(reason, server->address, "no usable address");
        ldns_rdf_deep_free(rdf);
        ldns_resolver_deep_free(r);
        return NULL;
    }
    ldns_rdf_deep_free(rdf);
    ldns_resolver_set_port(r, (uint16_t)port);
    ldns_resolver_set_usevc(r, true);
    ldns_resolver_set_recursive(r, false);
    ldns_resolver_set_defnames(r, false);
    ldns_resolver_set_dnsrch(r, false);
    ldns_resolver_set_retry(r, 1);
    struct timeval timeout = {UPDATE_TIMEOUT_SECONDS, 0};
    ldns_resolver_set_timeout(r, timeout);
    char algorithm[64];
    snprintf(algorithm, sizeof algorithm, "%s%s", server->algorithm,
             server->algorithm[0] && server->algorithm[strlen(server->algorithm) - 1] == '.' ? "" : ".");
    ldns_resolver_set_tsig_algorithm(r, algorithm);
    ldns_resolver_set_tsig_keyname(r, server->key_name);
    ldns_resolver_set_tsig_keydata(r, server->key_b64);
    return r;
}

static ldns_rdf *name_of(const char *text) { return ldns_dname_new_frm_str(text); }

/* The RRset (name, type) as the server has it: an owned list, maybe empty; NULL when the server did not answer. *rcode: its answer's code. */
static ldns_rr_list *read_rrset(ldns_resolver *r, const char *name, ldns_rr_type type, int *rcode) {
    ldns_pkt *answer = NULL;
    ldns_rdf *owner = name_of(name);
    *rcode = -1;
    if (!owner || ldns_resolver_send(&answer, r, owner, type, LDNS_RR_CLASS_IN, 0) != LDNS_STATUS_OK || !answer) {
        ldns_rdf_deep_free(owner);
        return NULL;
    }
    *rcode = (int)ldns_pkt_get_rcode(answer);
    ldns_rr_list *list = ldns_pkt_rr_list_by_name_and_type(answer, owner, type, LDNS_SECTION_ANSWER);
    ldns_pkt_free(answer);
    ldns_rdf_deep_free(owner);
    return list ? list : ldns_rr_list_new();
}

static ldns_rr *make_record(const struct dns_record *record) {
    ldns_rr *rr = NULL;
    size_t n = strlen(record->name) + strlen(record->value) + 64;
    char *text = memory_alloc(n);
    snprintf(text, n, "%s. %d IN %s %s", record->name, record->ttl, record->type, record->value);
    if (ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL) != LDNS_STATUS_OK) rr = NULL;
    free(text);
    return rr;
}

/* RFC 2136 §2.5.2: class ANY, no data: the whole RRset goes. */
static ldns_rr *make_deletion(const char *name, ldns_rr_type type) {
    ldns_rr *rr = ldns_rr_new();
    ldns_rr_set_owner(rr, name_of(name));
    ldns_rr_set_type(rr, type);
    ldns_rr_set_class(rr, LDNS_RR_CLASS_ANY);
    ldns_rr_set_ttl(rr, 0);
    return rr;
}

/* Sends an update of zone; frees changes. */
static int send_update(ldns_resolver *r, const char *zone, ldns_rr_list *changes, char reason[UPDATE_REASON_MAX]) {
    ldns_pkt *answer = NULL;
    ldns_rdf *name = name_of(zone);
    ldns_pkt *update = name ? ldns_update_pkt_new(name, LDNS_RR_CLASS_IN, NULL, changes, NULL) : NULL; /* name is its own then; changes are copied */
    if (!update) {
        ldns_rr_list_deep_free(changes);
        return failed(reason, zone, "the update cannot be written");
    }
    int result = -1;
    ldns_pkt_set_random_id(update);
    if (ldns_update_pkt_tsig_add(update, r) != LDNS_STATUS_OK) {
        failed(reason, zone, "the TSIG key cannot be used");
    } else if (ldns_resolver_send_pkt(&answer, r, update) != LDNS_STATUS_OK || !answer) {
        failed(reason, zone, "the DNS server did not answer the update");
    } else if (ldns_pkt_get_rcode(answer) != LDNS_RCODE_NOERROR) {
        char *rcode = ldns_pkt_rcode2str(ldns_pkt_get_rcode(answer));
        failed(reason, zone, rcode ? rcode : "refused");
        free(rcode);
    } else {
        result = 0;
    }
    ldns_pkt_free(answer);
    ldns_pkt_free(update);
    ldns_rr_list_deep_free(changes);
    return result;
}

/* The member's name in the catalog: any unique label will do (RFC 9432 §4.1), and a digest of the zone's name always is the same. */
static void member_name(const struct update_server *server, const char *zone, char out[512]) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)zone, strlen(zone), digest);
    char hex[41];
    for (size_t i = 0; i < 20; i++) snprintf(hex + i * 2, 3, "%02x", digest[i]);
    snprintf(out, 512, "%s.zones.%s", hex, server->catalog);
}

static bool zone_is_served(ldns_resolver *r, const char *zone) {
    int rcode;
    ldns_rr_list *soa = read_rrset(r, zone, LDNS_RR_TYPE_SOA, &rcode);
    bool served = soa && rcode == LDNS_RCODE_NOERROR && ldns_rr_list_rr_count(soa) > 0;
    ldns_rr_list_deep_free(soa);
    return served;
}

static int make_zone(ldns_resolver *r, const struct update_server *server, const char *zone, char reason[UPDATE_REASON_MAX]) {
    char member[512], value[300];
    int rcode;
    member_name(server, zone, member);
    snprintf(value, sizeof value, "%s.", zone);
    ldns_rr_list *there = read_rrset(r, member, LDNS_RR_TYPE_PTR, &rcode);
    if (!there) return failed(reason, server->address, "the DNS server does not answer");
    bool known = rcode == LDNS_RCODE_NOERROR && ldns_rr_list_rr_count(there) > 0;
    ldns_rr_list_deep_free(there);
    if (!known) {
        struct dns_record record = {.name = member, .type = "PTR", .ttl = 0, .value = value};
        ldns_rr_list *changes = ldns_rr_list_new();
        ldns_rr_list_push_rr(changes, make_record(&record));
        if (send_update(r, server->catalog, changes, reason)) return -1;
    }
    for (int waited = 0; waited < UPDATE_ZONE_WAIT_MS; waited += ZONE_POLL_MS) {
        if (zone_is_served(r, zone)) return 0;
        nanosleep(&(struct timespec){0, ZONE_POLL_MS * 1000000L}, NULL);
    }
    return failed(reason, zone, "the zone is in the catalog, but the DNS server does not serve it");
}

/* Adds to changes what makes the RRset of records[at] (all of its name and type) as wanted, if it differs now. 1 when it did, 0, or -1. */
static int compare_rrset(ldns_resolver *r, size_t n, const struct dns_record records[], size_t at, ldns_rr_list *changes, char reason[UPDATE_REASON_MAX]) {
    const struct dns_record *first = &records[at];
    ldns_rr_type type = ldns_get_rr_type_by_name(first->type);
    ldns_rr_list *wanted = ldns_rr_list_new();
    int rcode;
    for (size_t i = at; i < n; i++) {
        if (strcasecmp(records[i].name, first->name) != 0 || strcmp(records[i].type, first->type) != 0) continue;
        ldns_rr *rr = make_record(&records[i]);
        if (!rr) {
            ldns_rr_list_deep_free(wanted);
            return failed(reason, records[i].name, "the record cannot be written");
        }
        ldns_rr_list_push_rr(wanted, rr);
    }
    ldns_rr_list *there = read_rrset(r, first->name, type, &rcode);
    if (!there) {
        ldns_rr_list_deep_free(wanted);
        return failed(reason, first->name, "the DNS server does not answer");
    }
    ldns_rr_list_sort(wanted);
    ldns_rr_list_sort(there);
    bool differs = ldns_rr_list_compare(wanted, there) != 0;
    ldns_rr_list_deep_free(there);
    if (!differs) {
        ldns_rr_list_deep_free(wanted);
        return 0;
    }
    ldns_rr_list_push_rr(changes, make_deletion(first->name, type));
    ldns_rr_list_push_rr_list(changes, wanted);
    ldns_rr_list_free(wanted); /* its records are in changes now */
    return 1;
}

static bool is_first_of_rrset(const struct dns_record records[], size_t at) {
    for (size_t i = 0; i < at; i++) {
        if (strcasecmp(records[i].name, records[at].name) == 0 && strcmp(records[i].type, records[at].type) == 0) return false;
    }
    return true;
}

int update_publish(const struct update_server *server, const char *zone, size_t n, const struct dns_record records[], size_t absent_count,
                   const struct dns_record absent[], size_t *changed, char reason[UPDATE_REASON_MAX]) {
    *changed = 0;
    ldns_resolver *r = open_server(server, reason);
    if (!r) return -1;
    int error = make_zone(r, server, zone, reason), rcode;
    ldns_rr_list *changes = ldns_rr_list_new();
    for (size_t i = 0; i < n && !error; i++) {
        if (!is_first_of_rrset(records, i)) continue;
        int differs = compare_rrset(r, n, records, i, changes, reason);
        if (differs < 0) error = -1;
        if (differs > 0) ++*changed;
    }
    for (size_t i = 0; i < absent_count && !error; i++) {
        ldns_rr_type type = ldns_get_rr_type_by_name(absent[i].type);
        ldns_rr_list *there = read_rrset(r, absent[i].name, type, &rcode);
        if (there && ldns_rr_list_rr_count(there)) {
            ldns_rr_list_push_rr(changes, make_deletion(absent[i].name, type));
            ++*changed;
        }
        ldns_rr_list_deep_free(there);
    }
    if (!error && *changed)
        error = send_update(r, zone, changes, reason);
    else
        ldns_rr_list_deep_free(changes);
    ldns_resolver_deep_free(r);
    return error;
}

int update_remove(const struct update_server *server, const char *zone, char reason[UPDATE_REASON_MAX]) {
    char member[512];
    int rcode, error = 0;
    ldns_resolver *r = open_server(server, reason);
    if (!r) return -1;
    member_name(server, zone, member);
    ldns_rr_list *there = read_rrset(r, member, LDNS_RR_TYPE_PTR, &rcode);
    if (!there) {
        error = failed(reason, server->address, "the DNS server does not answer");
    } else if (ldns_rr_list_rr_count(there)) {
        ldns_rr_list *changes = ldns_rr_list_new();
        ldns_rr_list_push_rr(changes, make_deletion(member, LDNS_RR_TYPE_PTR));
        error = send_update(r, server->catalog, changes, reason);
    }
    ldns_rr_list_deep_free(there);
    ldns_resolver_deep_free(r);
    return error;
}

int update_list(const struct update_server *server, void (*each)(void *ctx, const char *zone), void *ctx, char reason[UPDATE_REASON_MAX]) {
    ldns_resolver *r = open_server(server, reason);
    if (!r) return -1;
    ldns_rdf *catalog = name_of(server->catalog);
    int error = 0;
    if (!catalog || ldns_axfr_start(r, catalog, LDNS_RR_CLASS_IN) != LDNS_STATUS_OK)
        error = failed(reason, server->catalog, "the catalog cannot be transferred");
    while (!error && !ldns_axfr_complete(r)) {
        ldns_rr *rr = ldns_axfr_next(r);
        if (!rr) {
            if (!ldns_axfr_complete(r)) error = failed(reason, server->catalog, "the transfer of the catalog broke off");
            break;
        }
        if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_PTR) {
            char *zone = ldns_rdf2str(ldns_rr_rdf(rr, 0));
            size_t n = zone ? strlen(zone) : 0;
            if (n && zone[n - 1] == '.') zone[n - 1] = '\0';
            if (n) each(ctx, zone);
            free(zone);
        }
        ldns_rr_free(rr);
    }
    ldns_rdf_deep_free(catalog);
    ldns_resolver_deep_free(r);
    return error;
}
