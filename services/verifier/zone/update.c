#include "services/verifier/zone/update.h"

#include <stdio.h>
#include <stdlib.h>

#include "services/verifier/zone/catalog.h"
#include "services/verifier/zone/record_list.h"

/* One publication on one server. */
struct work {
    struct dns_server *server;
    const char *domain;
    char home[DNS_NAME_BYTES]; /* the zone that contains domain */
    struct record_set wanted, former;
    ldns_rr_list *gone, *come; /* the records to delete and to add in the current zone */
    size_t changed;
    struct buf *left_out;
    char *reason;
};

static int failed(char reason[DNS_REASON_MAX], const char *what, const char *detail) {
    snprintf(reason, DNS_REASON_MAX, "%.120s: %.180s", what, detail);
    return -1;
}

static ldns_rr *make_record(const struct dns_record *record, int ttl) {
    ldns_rr *rr = NULL;
    size_t n = strlen(record->name) + strlen(record->value) + 64;
    char *text = memory_alloc(n);
    snprintf(text, n, "%s. %d IN %s %s", record->name, ttl, record->type, record->value);
    if (ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL) != LDNS_STATUS_OK) rr = NULL;
    free(text);
    return rr;
}

static bool same_rrset(const struct dns_record *a, const struct dns_record *b) {
    return strcasecmp(a->name, b->name) == 0 && strcmp(a->type, b->type) == 0;
}

/* The records of set in the RRset of `of`, with ttl; NULL with the reason. */
static ldns_rr_list *make_rrset(struct work *w, struct record_set set, const struct dns_record *of, int ttl) {
    ldns_rr_list *list = ldns_rr_list_new();
    for (size_t i = 0; i < set.n; i++) {
        if (!same_rrset(&set.records[i], of)) continue;
        ldns_rr *rr = make_record(&set.records[i], ttl < 0 ? set.records[i].ttl : ttl);
        if (!rr) {
            ldns_rr_list_deep_free(list);
            failed(w->reason, set.records[i].name, "the record cannot be written");
            return NULL;
        }
        ldns_rr_list_push_rr(list, rr);
    }
    return list;
}

/* Whether list has a record with the same data; TTLs do not count. */
static bool has(const ldns_rr_list *list, const ldns_rr *rr) {
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++)
        if (ldns_rr_compare(ldns_rr_list_rr(list, i), rr) == 0) return true;
    return false;
}

/* The concatenated strings of a TXT record. */
static void read_text(const ldns_rr *rr, struct buf *out) {
    buf_reset(out);
    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        const ldns_rdf *string = ldns_rr_rdf(rr, i);
        if (ldns_rdf_size(string) > 1) buf_add(out, ldns_rdf_data(string) + 1, ldns_rdf_size(string) - 1);
    }
}

/* The first word of "v=…": it tells the kind of record. */
static struct slice kind_of(struct slice text) {
    size_t n = 0;
    if (!slice_starts_nocase(text, SLICE("v="))) return SLICE("");
    while (n < text.n && text.p[n] != ' ' && text.p[n] != ';') n++;
    return slice_head(text, n);
}

bool update_rivals(struct slice name, struct slice wanted, struct slice found) {
    /* RFC 6376 §3.6.2.2: one record at a selector, and its v= may be missing */
    const char *below = "._domainkey.";
    if (memmem(name.p, name.n, below, strlen(below))) return true;
    struct slice kind = kind_of(wanted);
    return kind.n && slice_equal_nocase(kind, kind_of(found));
}

static bool rivals(const ldns_rr *there, const ldns_rr_list *wanted, const char *name) {
    if (ldns_rr_get_type(there) != LDNS_RR_TYPE_TXT) return false;
    struct buf found = {0}, ours = {0};
    bool result = false;
    read_text(there, &found);
    for (size_t i = 0; i < ldns_rr_list_rr_count(wanted) && !result; i++) {
        read_text(ldns_rr_list_rr(wanted, i), &ours);
        result = update_rivals(slice_of(name), buf_slice(&ours), buf_slice(&found));
    }
    buf_free(&found);
    buf_free(&ours);
    return result;
}

static void leave_out(struct work *w, const struct dns_record *r, const char *why) {
    if (w->left_out)
        buf_printf(w->left_out, "%s%s %s is not published: %s", w->left_out->n ? "; " : "", r->name, r->type, why);
}

/* Whether the name has no other records, so that an alias is possible (RFC 1034 §3.6.2). 1, 0 or
 * -1. */
static int is_free_for_alias(struct work *w, const struct dns_record *r) {
    ldns_pkt *answer = dns_server_ask(w->server, r->name, LDNS_RR_TYPE_ANY, w->reason);
    if (!answer) return -1;
    int result = 1;
    const ldns_rr_list *there = ldns_pkt_answer(answer);
    for (size_t i = 0; i < ldns_rr_list_rr_count(there); i++) {
        ldns_rr_type type = ldns_rr_get_type(ldns_rr_list_rr(there, i));
        if (type != LDNS_RR_TYPE_CNAME && type != LDNS_RR_TYPE_RRSIG && type != LDNS_RR_TYPE_NSEC &&
            type != LDNS_RR_TYPE_NSEC3)
            result = 0;
    }
    ldns_pkt_free(answer);
    return result;
}

static void push_deletion(struct work *w, const ldns_rr *rr) { /* RFC 2136 §2.5.4: class NONE, TTL 0: deletes this
                                                                  record of the RRset */
    ldns_rr *gone = ldns_rr_clone(rr);
    ldns_rr_set_class(gone, LDNS_RR_CLASS_NONE);
    ldns_rr_set_ttl(gone, 0);
    ldns_rr_list_push_rr(w->gone, gone);
}

/* Computes the changes of one RRset. there: the records on the server; alias: whether there is a
 * CNAME that is not ours. 0 or -1. */
static int compare_rrset(struct work *w, const struct dns_record *r, const ldns_rr_list *there,
                         const ldns_rr_list *alias) {
    ldns_rr_list *wanted = make_rrset(w, w->wanted, r, -1), *former = wanted ? make_rrset(w, w->former, r, -1) : NULL;
    if (!former) {
        ldns_rr_list_deep_free(wanted);
        return -1;
    }
    size_t foreign = 0, kept = 0, before = ldns_rr_list_rr_count(w->gone) + ldns_rr_list_rr_count(w->come);
    bool is_alias = strcmp(r->type, "CNAME") == 0, wants = ldns_rr_list_rr_count(wanted) > 0, other_ttl = false;
    int error = 0;
    if (wants && !is_alias && ldns_rr_list_rr_count(alias)) {
        leave_out(
            w, r,
            "there is another alias (CNAME) at this name; remove it, or maintain this record by hand at its target");
        wants = false;
    } else if (wants && is_alias && !ldns_rr_list_rr_count(there)) {
        int is_free = is_free_for_alias(w, r);
        if (is_free < 0) error = -1;
        if (is_free == 0) leave_out(w, r, "the name has other records, and an alias is not allowed beside them");
        wants = is_free == 1;
    }
    for (size_t i = 0; i < ldns_rr_list_rr_count(there) && !error; i++) {
        const ldns_rr *rr = ldns_rr_list_rr(there, i);
        if (has(wanted, rr)) {
            kept++;
            other_ttl = other_ttl || ldns_rr_ttl(rr) != ldns_rr_ttl(ldns_rr_list_rr(wanted, 0));
        } else if (has(former, rr) || rivals(rr, wanted, r->name)) {
            push_deletion(w, rr);
        } else {
            foreign++;
        }
    }
    if (wants && is_alias && foreign) {
        leave_out(w, r, "it is an alias to another name; remove it if it should lead to this site");
        wants = false;
    }
    for (size_t i = 0; i < ldns_rr_list_rr_count(wanted) && wants && !error; i++) {
        const ldns_rr *rr = ldns_rr_list_rr(wanted, i);
        if (has(there, rr) && (foreign || !other_ttl)) continue;
        ldns_rr *come = ldns_rr_clone(rr);
        if (foreign || (kept && !other_ttl))
            ldns_rr_set_ttl(come, ldns_rr_ttl(ldns_rr_list_rr(there, 0))); /* an RRset has one TTL: RFC 2181 §5.2 */
        ldns_rr_list_push_rr(w->come, come);
    }
    if (ldns_rr_list_rr_count(w->gone) + ldns_rr_list_rr_count(w->come) > before) w->changed++;
    ldns_rr_list_deep_free(wanted);
    ldns_rr_list_deep_free(former);
    return error;
}

/* A CNAME at the name that is not among former, and so must not be removed. */
static ldns_rr_list *foreign_alias(struct work *w, const ldns_pkt *answer, const struct dns_record *r) {
    struct dns_record as_alias = {.name = r->name, .type = "CNAME"};
    ldns_rr_list *found = dns_server_records(answer, r->name, LDNS_RR_TYPE_CNAME, LDNS_SECTION_ANSWER),
                 *left = ldns_rr_list_new();
    ldns_rr_list *former = make_rrset(w, w->former, &as_alias, -1);
    for (size_t i = 0; i < ldns_rr_list_rr_count(found); i++)
        if (!former || !has(former, ldns_rr_list_rr(found, i)))
            ldns_rr_list_push_rr(left, ldns_rr_clone(ldns_rr_list_rr(found, i)));
    ldns_rr_list_deep_free(found);
    ldns_rr_list_deep_free(former);
    return left;
}

static int look_at(struct work *w, const struct dns_record *r) {
    ldns_rr_type type = ldns_get_rr_type_by_name(r->type);
    ldns_pkt *answer = dns_server_ask(w->server, r->name, type, w->reason);
    if (!answer) return -1;
    ldns_rr_list *there = dns_server_records(answer, r->name, type, LDNS_SECTION_ANSWER);
    ldns_rr_list *alias = type == LDNS_RR_TYPE_CNAME ? ldns_rr_list_new() : foreign_alias(w, answer, r);
    int error = compare_rrset(w, r, there, alias);
    ldns_rr_list_deep_free(alias);
    ldns_rr_list_deep_free(there);
    ldns_pkt_free(answer);
    return error;
}

static bool seen_before(const struct work *w, const struct dns_record *r) {
    for (size_t i = 0; i < w->wanted.n; i++) {
        if (&w->wanted.records[i] == r) return false;
        if (same_rrset(&w->wanted.records[i], r)) return true;
    }
    for (size_t i = 0; i < w->former.n && &w->former.records[i] != r; i++)
        if (same_rrset(&w->former.records[i], r)) return true;
    return false;
}

/* Handles all RRsets of one set that are in the zone and were not handled yet. */
static int look_at_all(struct work *w, struct record_set set, const char *zone, const char zones[][DNS_NAME_BYTES],
                       const int zone_index[]) {
    for (size_t i = 0; i < set.n; i++) {
        if (zone_index[i] < 0 || strcmp(zones[zone_index[i]], zone) != 0 || seen_before(w, &set.records[i])) continue;
        if (look_at(w, &set.records[i])) return -1;
    }
    return 0;
}

/* Finds the zone of the server for each record, as an index into zones; -1: none. 0 or -1. */
static int find_zones(struct work *w, struct record_set set, char zones[UPDATE_ZONES_MAX][DNS_NAME_BYTES],
                      size_t *count, int index[]) {
    for (size_t i = 0; i < set.n; i++) {
        char zone[DNS_NAME_BYTES];
        index[i] = -1;
        if (record_is_inside(set.records[i].name, w->domain)) {
            index[i] = 0; /* home */
            continue;
        }
        int error = dns_server_zone_of(w->server, set.records[i].name, zone, w->reason);
        if (error < 0) return -1;
        if (error) continue;
        for (size_t k = 0; k < *count && index[i] < 0; k++)
            if (strcmp(zones[k], zone) == 0) index[i] = (int)k;
        if (index[i] < 0 && *count < UPDATE_ZONES_MAX) {
            snprintf(zones[*count], DNS_NAME_BYTES, "%s", zone);
            index[i] = (int)(*count)++;
        }
    }
    return 0;
}

static int publish_zone(struct work *w, const char *zone, const char zones[][DNS_NAME_BYTES], const int wanted_zone[],
                        const int former_zone[]) {
    w->gone = ldns_rr_list_new();
    w->come = ldns_rr_list_new();
    int error = look_at_all(w, w->wanted, zone, zones, wanted_zone);
    if (!error) error = look_at_all(w, w->former, zone, zones, former_zone);
    ldns_rr_list *changes = ldns_rr_list_new(); /* deletions first: the server applies changes in
                                                   order (RFC 2136 §3.4.2.7) */
    ldns_rr_list_push_rr_list(changes, w->gone);
    ldns_rr_list_push_rr_list(changes, w->come);
    if (!error && ldns_rr_list_rr_count(changes)) error = dns_server_update(w->server, zone, changes, w->reason);
    ldns_rr_list_free(changes);
    ldns_rr_list_deep_free(w->gone);
    ldns_rr_list_deep_free(w->come);
    return error;
}

static int publish(struct work *w) {
    char zones[UPDATE_ZONES_MAX][DNS_NAME_BYTES];
    size_t count = 1;
    int *wanted_zone = memory_alloc((w->wanted.n + w->former.n + 1) * sizeof *wanted_zone),
        *former_zone = wanted_zone + w->wanted.n;
    snprintf(zones[0], DNS_NAME_BYTES, "%s", w->home);
    int error = find_zones(w, w->wanted, zones, &count, wanted_zone);
    if (!error) error = find_zones(w, w->former, zones, &count, former_zone);
    for (size_t i = 0; i < count && !error; i++)
        error = publish_zone(w, zones[i], (const char(*)[DNS_NAME_BYTES])zones, wanted_zone, former_zone);
    free(wanted_zone);
    return error;
}

int update_publish(const struct update_server *server, const char *domain, struct record_set wanted,
                   struct record_set former, size_t *changed, struct buf *left_out, char reason[DNS_REASON_MAX]) {
    struct work w = {.domain = domain, .wanted = wanted, .former = former, .left_out = left_out, .reason = reason};
    *changed = 0;
    w.server = dns_server_open(&server->dns, reason);
    if (!w.server) return UPDATE_UNREACHABLE;
    int error = dns_server_zone_of(w.server, domain, w.home, reason);
    if (error > 0 && *server->catalog) {
        error = catalog_add(w.server, server->catalog, domain, reason);
        if (!error) error = dns_server_zone_of(w.server, domain, w.home, reason);
    }
    error = error ? -1 : publish(&w);
    *changed = w.changed;
    dns_server_close(w.server);
    return error;
}

int update_remove(const struct update_server *server, const char *domain, struct record_set former,
                  char reason[DNS_REASON_MAX]) {
    struct dns_record *outside = memory_alloc((former.n + 1) * sizeof *outside);
    struct work w = {.domain = domain, .former = former, .reason = reason};
    w.server = dns_server_open(&server->dns, reason);
    int removed = w.server && *server->catalog ? catalog_remove(w.server, server->catalog, domain, reason) : 0;
    int error = !w.server ? UPDATE_UNREACHABLE : removed < 0 ? UPDATE_FAILED : 0;
    if (removed > 0) { /* the zone's records are removed with it; those in other zones remain */
        w.former = (struct record_set){0, outside};
        for (size_t i = 0; i < former.n; i++)
            if (!record_is_inside(former.records[i].name, domain)) outside[w.former.n++] = former.records[i];
        error = publish(&w);
        if (!error) error = update_undelegate(w.server, domain, reason);
    } else if (!error) {
        error = dns_server_zone_of(w.server, domain, w.home, reason);
        /* error > 0: there is no such zone, and so there are no records of ours */
        error = error > 0 ? 0 : error ? -1 : publish(&w);
    }
    dns_server_close(w.server);
    free(outside);
    return error;
}

int update_list(const struct update_server *server, void (*each)(void *ctx, const char *zone), void *ctx,
                char reason[DNS_REASON_MAX]) {
    struct dns_server *s = dns_server_open(&server->dns, reason);
    if (!s) return UPDATE_UNREACHABLE;
    int error = catalog_list(s, server->catalog, each, ctx, reason);
    dns_server_close(s);
    return error;
}
