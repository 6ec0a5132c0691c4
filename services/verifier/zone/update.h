/* Makes an authoritative DNS server say what we want (RFC 2136), whoever runs it: our Knot, BIND, a provider's.
 * Blocking, as dns_server.h.
 *
 * What is not ours stays: in an RRset only those records go that we published before and no longer want (former), or
 * that ours cannot stand beside (another SPF record: RFC 7208 §4.5; another key at our DKIM selector). A name that
 * holds somebody's alias, or anything where we want an alias, is left as it is and told.
 */
#ifndef POSTBUS_VERIFIER_UPDATE_H
#define POSTBUS_VERIFIER_UPDATE_H

#include "libcommon/base/buf.h"
#include "services/verifier/zone/dns_server.h"
#include "services/verifier/zone/records.h"

enum { UPDATE_SERVERS_MAX = 4, UPDATE_ZONES_MAX = 8 };

/* What all of these answer: 0, UPDATE_FAILED (this domain; the reason says why) or UPDATE_UNREACHABLE (no domain will
 * fare better now). */
enum update_error { UPDATE_FAILED = -1, UPDATE_UNREACHABLE = -2 };

struct update_server {
    struct dns_server_settings dns;
    const char *catalog; /* "": zones are not made by us; they are there, or the update fails */
};

/* A set of records, of somebody's arena. */
struct record_set {
    size_t n;
    const struct dns_record *records;
};

/* Gives the zone that holds domain these records, and takes away what of former is not among them; makes the zone when
 * it is not there and there is a catalog. Records outside domain go to the zone that holds them, or nowhere when this
 * server has none. One update a zone. *changed: RRsets written. left_out: added to, a sentence for each RRset that
 * could not be published because something of others is in its place. */
int update_publish(const struct update_server *server, const char *domain, struct record_set wanted,
                   struct record_set former, size_t *changed, struct buf *left_out, char reason[DNS_REASON_MAX]);
/* The zone goes when it came from the catalog; else what is ours in it goes. */
int update_remove(const struct update_server *server, const char *domain, struct record_set former,
                  char reason[DNS_REASON_MAX]);
/* Delegates those of children (domains below domain) that have zones of their own on this server, from domain's zone,
 * with their DS records. */
int update_delegate(const struct update_server *server, const char *domain, size_t n, const char *const children[],
                    char reason[DNS_REASON_MAX]);
/* Takes such a delegation away, after the child's zone is gone. */
int update_undelegate(struct dns_server *s, const char *child, char reason[DNS_REASON_MAX]);
/* The zones in the catalog; see catalog_list. */
int update_list(const struct update_server *server, void (*each)(void *ctx, const char *zone), void *ctx,
                char reason[DNS_REASON_MAX]);
/* The DS records that the parent of domain's zone should have, in presentation format, with each(): from its CDS
 * records (RFC 7344), else from its key-signing keys. None when the zone is not signed, or when domain is no zone's
 * apex there. */
int update_ds(const struct update_server *server, const char *domain, void (*each)(void *ctx, const char *ds),
              void *ctx, char reason[DNS_REASON_MAX]);

/* Whether a TXT record `found` cannot stay beside `wanted` at one name: both are of one kind of which there may be only
 * one. Pure; texts without quotes. */
bool update_rivals(struct slice name, struct slice wanted, struct slice found);

#endif
