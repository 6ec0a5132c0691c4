/* A connection to one authoritative DNS server, over TCP, with every message signed by TSIG (RFC 8945): questions, RFC
 * 2136 updates, transfers. The answers' signatures are verified, so that nobody on the way can make us believe in
 * records that are not there. Blocking, with bounds: used on the pool's threads, never on the loop. */
#ifndef POSTBUS_VERIFIER_DNS_SERVER_H
#define POSTBUS_VERIFIER_DNS_SERVER_H

#include <ldns/ldns.h>
#include <stdbool.h>

enum { DNS_SERVER_TIMEOUT_SECONDS = 3, DNS_REASON_MAX = 320, DNS_NAME_BYTES = 256 };

/* Where a server is and how it knows us. The texts are the settings', which outlive every connection. */
struct dns_server_settings {
    const char *address; /* "knot@53": host or address, optional port */
    const char *algorithm, *key_name,
        *key_b64; /* "hmac-sha256" or "hmac-sha512", the key's name, its secret in base 64 */
};

struct dns_server;

/* Connects. NULL with the reason in words. */
struct dns_server *dns_server_open(const struct dns_server_settings *settings, char reason[DNS_REASON_MAX]);
void dns_server_close(struct dns_server *s); /* NULL is allowed */

/* Asks for (name, type): the whole answer, the caller's, or NULL with the reason. A refusal (any RCODE but NOERROR and
 * NXDOMAIN) is a reason too. */
ldns_pkt *dns_server_ask(struct dns_server *s, const char *name, ldns_rr_type type, char reason[DNS_REASON_MAX]);
/* The records (name, type) of an answer's section, an owned list, maybe empty. */
ldns_rr_list *dns_server_records(const ldns_pkt *answer, const char *name, ldns_rr_type type, ldns_pkt_section section);
/* The zone this server has that holds name: its apex without final dot, lower case, in zone. 0; 1: the server has no
 * such zone; -1 with the reason. */
int dns_server_zone_of(struct dns_server *s, const char *name, char zone[DNS_NAME_BYTES], char reason[DNS_REASON_MAX]);
/* One update (RFC 2136 §2): it happens as a whole or not at all. changes are copied. 0, or -1 with the reason and what
 * to do about it. */
int dns_server_update(struct dns_server *s, const char *zone, const ldns_rr_list *changes, char reason[DNS_REASON_MAX]);
/* A whole zone (AXFR, RFC 5936): each() gets every record. 0, or -1 with the reason; each() may have been called before
 * it failed. */
int dns_server_transfer(struct dns_server *s, const char *zone, void (*each)(void *ctx, const ldns_rr *rr), void *ctx,
                        char reason[DNS_REASON_MAX]);

/* What a refusal means, in words, with what to do. rcode: of the header; error: of its TSIG record (RFC 8945 §5.3), 0
 * for none. Pure. */
void dns_server_explain(int rcode, int error, const char *zone, const char *key_name, char reason[DNS_REASON_MAX]);

#endif
