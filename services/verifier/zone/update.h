/* Updates the records on an authoritative DNS server (RFC 2136): the site's Knot, BIND, or a
 * provider's server. Blocking, as dns_server.h.
 *
 * Other records stay: from an RRset only those records are removed that we published before and
 * that are obsolete (former), or that are invalid beside ours (another SPF record: RFC 7208 §4.5;
 * another key at our DKIM selector). A name with a foreign CNAME, or with other records where we
 * need a CNAME, is not changed, and this is reported. */
#ifndef POSTBUS_VERIFIER_UPDATE_H
#define POSTBUS_VERIFIER_UPDATE_H

#include "libcommon/base/buf.h"
#include "services/verifier/zone/dns_server.h"
#include "services/verifier/zone/records.h"

enum { UPDATE_SERVERS_MAX = 4, UPDATE_ZONES_MAX = 8 };

/* The results of these functions: 0, UPDATE_FAILED (for this domain, with the reason) or
 * UPDATE_UNREACHABLE (other domains would fail too). */
enum update_error { UPDATE_FAILED = -1, UPDATE_UNREACHABLE = -2 };

struct update_server {
    struct dns_server_settings dns;
    const char *catalog; /* "": zones are not created by us; an update fails if there is none */
};

/* A set of records in the caller's arena. */
struct record_set {
    size_t n;
    const struct dns_record *records;
};

/* Publishes the records in the zone that contains domain, and removes those of former that are not
 * among them; creates the zone if it does not exist and there is a catalog. Records outside domain
 * go to the zone that contains them, if this server has it. There is one update for each zone.
 * *changed: number of RRsets written. left_out: gets a sentence for each RRset that could not be
 * published because of other records in its place. */
int update_publish(const struct update_server *server, const char *domain, struct record_set wanted,
                   struct record_set former, size_t *changed, struct buf *left_out, char reason[DNS_REASON_MAX]);
/* Removes the zone if it came from the catalog; otherwise removes our records from it. */
int update_remove(const struct update_server *server, const char *domain, struct record_set former,
                  char reason[DNS_REASON_MAX]);
/* Delegates those of children (domains below domain) that have zones of their own on this server,
 * from domain's zone, with their DS records. */
int update_delegate(const struct update_server *server, const char *domain, size_t n, const char *const children[],
                    char reason[DNS_REASON_MAX]);
/* Removes such a delegation after the child's zone was removed. */
int update_undelegate(struct dns_server *s, const char *child, char reason[DNS_REASON_MAX]);
/* The zones in the catalog; see catalog_list. */
int update_list(const struct update_server *server, void (*each)(void *ctx, const char *zone), void *ctx,
                char reason[DNS_REASON_MAX]);
/* The DS records that the parent of domain's zone should have, in presentation format, with each():
 * from its CDS records (RFC 7344), else from its key-signing keys. None if the zone is not signed,
 * or if domain is not the apex of a zone on the server. */
int update_ds(const struct update_server *server, const char *domain, void (*each)(void *ctx, const char *ds),
              void *ctx, char reason[DNS_REASON_MAX]);

/* Whether a TXT record `found` is invalid beside `wanted` at the same name, because only one record
 * of their kind is allowed. Pure; texts without quotes. */
bool update_rivals(struct slice name, struct slice wanted, struct slice found);

#endif
