/* A connection to one authoritative DNS server, over TCP, with every message signed by TSIG (RFC
 * 8945): questions, RFC 2136 updates, transfers. The signatures of answers are verified, so that an
 * attacker on the network cannot forge records. Blocking, with time limits: used on the threads of
 * the pool, never on the loop. */
#ifndef POSTBUS_VERIFIER_DNS_SERVER_H
#define POSTBUS_VERIFIER_DNS_SERVER_H

#include <ldns/ldns.h>
#include <stdbool.h>

enum { DNS_SERVER_TIMEOUT_SECONDS = 3, DNS_REASON_MAX = 320, DNS_NAME_BYTES = 256 };

/* The address of a server and the TSIG key. The texts belong to the settings, which outlive every
 * connection. */
struct dns_server_settings {
    const char *address; /* "knot@53": host or address, optional port */
    const char *algorithm, *key_name,
        *key_b64; /* "hmac-sha256" or "hmac-sha512", the key's name, its secret in base 64 */
};

struct dns_server;

/* Connects. NULL with the reason in words. */
struct dns_server *dns_server_open(const struct dns_server_settings *settings, char reason[DNS_REASON_MAX]);
void dns_server_close(struct dns_server *s); /* NULL is allowed */

/* Queries (name, type): returns the whole answer, which the caller owns, or NULL with the reason,
 * also for any RCODE except NOERROR and NXDOMAIN. */
ldns_pkt *dns_server_ask(struct dns_server *s, const char *name, ldns_rr_type type, char reason[DNS_REASON_MAX]);
/* The records (name, type) of an answer's section, a list that the caller owns, possibly empty. */
ldns_rr_list *dns_server_records(const ldns_pkt *answer, const char *name, ldns_rr_type type, ldns_pkt_section section);
/* Finds the zone of this server that contains name: its apex without final dot, in lower case, in
 * zone. 0; 1: the server has no such zone; -1 with the reason. */
int dns_server_zone_of(struct dns_server *s, const char *name, char zone[DNS_NAME_BYTES], char reason[DNS_REASON_MAX]);
/* One update (RFC 2136 §2): it is done completely or not at all. changes are copied. 0, or -1 with
 * the reason and what to do. */
int dns_server_update(struct dns_server *s, const char *zone, const ldns_rr_list *changes, char reason[DNS_REASON_MAX]);
/* A whole zone (AXFR, RFC 5936): each() gets every record. 0, or -1 with the reason; each() may
 * have been called before the failure. */
int dns_server_transfer(struct dns_server *s, const char *zone, void (*each)(void *ctx, const ldns_rr *rr), void *ctx,
                        char reason[DNS_REASON_MAX]);

/* Explains a refusal in words, with what to do. rcode: of the header; error: of its TSIG record
 * (RFC 8945 §5.3), 0 for none. Pure. */
void dns_server_explain(int rcode, int error, const char *zone, const char *key_name, char reason[DNS_REASON_MAX]);

#endif
