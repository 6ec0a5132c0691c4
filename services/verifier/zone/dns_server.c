#include "services/verifier/zone/dns_server.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/base/arena.h"

enum {
    TSIG_FUDGE_SECONDS = 300 /* RFC 8945 §10 */,
    TSIG_MAC = 3,
    TSIG_ERROR = 5 /* positions in its RDATA, §4.2 */,
    TRANSFER_MESSAGES_MAX = 100000
};
enum { BADSIG = 16, BADKEY = 17, BADTIME = 18, BADTRUNC = 22 };

struct dns_server {
    const struct dns_server_settings *settings;
    char algorithm[64];
    struct sockaddr_storage to;
    socklen_t to_n;
    int fd; /* -1: not connected */
};

static int failed(char reason[DNS_REASON_MAX], const char *what, const char *detail) {
    snprintf(reason, DNS_REASON_MAX, "%.120s: %.180s", what, detail);
    return -1;
}

static const struct timeval timeout = {DNS_SERVER_TIMEOUT_SECONDS, 0};

static bool connect_server(struct dns_server *s) {
    if (s->fd < 0) s->fd = ldns_tcp_connect2(&s->to, s->to_n, timeout);
    return s->fd >= 0;
}

static void hang_up(struct dns_server *s) {
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}

struct dns_server *dns_server_open(const struct dns_server_settings *settings, char reason[DNS_REASON_MAX]) {
    char host[256], port[16];
    const char *at = strchr(settings->address, '@');
    snprintf(host, sizeof host, "%.*s", at ? (int)(at - settings->address) : 255, settings->address);
    snprintf(port, sizeof port, "%s", at ? at + 1 : "53");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error) {
        failed(reason, settings->address, gai_strerror(error));
        return NULL;
    }
    struct dns_server *s = memory_alloc(sizeof *s);
    s->settings = settings;
    s->fd = -1;
    size_t n = strlen(settings->algorithm);
    snprintf(s->algorithm, sizeof s->algorithm, "%s%s", settings->algorithm,
             n && settings->algorithm[n - 1] == '.' ? "" : ".");
    for (struct addrinfo *a = found; a && s->fd < 0; a = a->ai_next) { /* a name may have several addresses */
        memcpy(&s->to, a->ai_addr, a->ai_addrlen);
        s->to_n = a->ai_addrlen;
        connect_server(s);
    }
    freeaddrinfo(found);
    if (s->fd >= 0) return s;
    failed(reason, settings->address, "no connection: check that the DNS server runs and listens on TCP");
    free(s);
    return NULL;
}

void dns_server_close(struct dns_server *s) {
    if (!s) return;
    hang_up(s);
    free(s);
}

void dns_server_explain(int rcode, int error, const char *zone, const char *key_name, char reason[DNS_REASON_MAX]) {
    switch (error) { /* RFC 8945 §5.2 */
    case BADKEY:
        snprintf(reason, DNS_REASON_MAX,
                 "BADKEY for %.100s: the DNS server does not know the TSIG key %.60s with this algorithm; give it the "
                 "key of secret tsig.key",
                 zone, key_name);
        return;
    case BADSIG:
    case BADTRUNC:
        snprintf(reason, DNS_REASON_MAX,
                 "BADSIG for %.100s: the DNS server has another secret under the key name %.60s; make both the same",
                 zone, key_name);
        return;
    case BADTIME:
        snprintf(reason, DNS_REASON_MAX,
                 "BADTIME for %.100s: the clocks of this machine and of the DNS server differ by more than %d s; set "
                 "them right (NTP)",
                 zone, (int)TSIG_FUDGE_SECONDS);
        return;
    default: break;
    }
    switch (rcode) {
    case LDNS_RCODE_REFUSED:
        snprintf(reason, DNS_REASON_MAX,
                 "REFUSED for %.100s: the DNS server has no such zone, or the key %.60s may not do this there; allow "
                 "updates of the zone to this key",
                 zone, key_name);
        return;
    case LDNS_RCODE_NOTAUTH:
        snprintf(reason, DNS_REASON_MAX,
                 "NOTAUTH for %.100s: this DNS server is not the zone's primary, or does not take the key %.60s; make "
                 "the zone there, or name another server",
                 zone, key_name);
        return;
    case LDNS_RCODE_NOTZONE:
        snprintf(reason, DNS_REASON_MAX, "NOTZONE for %.100s: a record is not inside the zone that the DNS server has",
                 zone);
        return;
    case LDNS_RCODE_SERVFAIL:
        snprintf(
            reason, DNS_REASON_MAX,
            "SERVFAIL for %.100s: the DNS server cannot do it now (zone not loaded, disk, signing); its log says why",
            zone);
        return;
    case LDNS_RCODE_NOTIMPL:
        snprintf(reason, DNS_REASON_MAX, "NOTIMPL for %.100s: this DNS server takes no updates (RFC 2136)", zone);
        return;
    case LDNS_RCODE_FORMERR:
        snprintf(reason, DNS_REASON_MAX, "FORMERR for %.100s: the DNS server does not understand the message", zone);
        return;
    default: snprintf(reason, DNS_REASON_MAX, "the DNS server answers %.100s with error %d", zone, rcode); return;
    }
}

/* The error in an answer's TSIG record; 0 without. */
static int tsig_error(const ldns_pkt *answer) {
    const ldns_rr *tsig = ldns_pkt_tsig(answer);
    const ldns_rdf *error = tsig && ldns_rr_rd_count(tsig) > TSIG_ERROR ? ldns_rr_rdf(tsig, TSIG_ERROR) : NULL;
    return error && ldns_rdf_size(error) == 2 ? ldns_rdf2native_int16(error) : 0;
}

static bool send_message(struct dns_server *s, const ldns_pkt *message) {
    ldns_buffer *wire = ldns_buffer_new(LDNS_MIN_BUFLEN);
    bool sent = wire && ldns_pkt2buffer_wire(wire, message) == LDNS_STATUS_OK && connect_server(s) &&
                ldns_tcp_send_query(wire, s->fd, &s->to, s->to_n) > 0;
    ldns_buffer_free(wire);
    return sent;
}

/* Sends one message to the server and receives the answer, both signed. NULL with the reason.
 * about: the name in the reason. Takes ownership of message. */
static ldns_pkt *exchange(struct dns_server *s, ldns_pkt *message, const char *about, char reason[DNS_REASON_MAX]) {
    ldns_pkt *answer = NULL;
    uint8_t *wire = NULL;
    size_t n = 0;
    const struct dns_server_settings *k = s->settings;
    ldns_pkt_set_random_id(message);
    if (ldns_pkt_tsig_sign(message, k->key_name, k->key_b64, TSIG_FUDGE_SECONDS, s->algorithm, NULL) !=
        LDNS_STATUS_OK) {
        failed(reason, about, "the TSIG key cannot be used: hmac-sha256 or hmac-sha512, and a secret in base 64");
        ldns_pkt_free(message);
        return NULL;
    }
    for (int attempt = 0; attempt < 2 && !wire;
         attempt++) { /* a server may close an idle connection (RFC 7766 §6.2.3) */
        if (send_message(s, message)) wire = ldns_tcp_read_wire_timeout(s->fd, &n, timeout);
        if (!wire) hang_up(s);
    }
    if (!wire) {
        failed(reason, about, "the DNS server does not answer");
    } else if (ldns_wire2pkt(&answer, wire, n) != LDNS_STATUS_OK || ldns_pkt_id(answer) != ldns_pkt_id(message) ||
               !ldns_pkt_qr(answer)) {
        failed(reason, about, "the DNS server's answer is malformed");
        ldns_pkt_free(answer);
        answer = NULL;
        hang_up(s);
    } else {
        int rcode = (int)ldns_pkt_get_rcode(answer), error = tsig_error(answer);
        bool good = rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN;
        if (!good) {
            dns_server_explain(rcode, error, about, k->key_name, reason);
        } else if (!ldns_pkt_tsig_verify(answer, wire, n, k->key_name, k->key_b64,
                                         ldns_rr_rdf(ldns_pkt_tsig(message), TSIG_MAC))) {
            failed(reason, about,
                   "the answer is not signed with our TSIG key, so it is not trusted"); /* RFC 8945 §5.3 */
            good = false;
        }
        if (!good) {
            ldns_pkt_free(answer);
            answer = NULL;
        }
    }
    free(wire);
    ldns_pkt_free(message);
    return answer;
}

ldns_pkt *dns_server_ask(struct dns_server *s, const char *name, ldns_rr_type type, char reason[DNS_REASON_MAX]) {
    ldns_rdf *owner = ldns_dname_new_frm_str(name);
    ldns_pkt *question = owner ? ldns_pkt_query_new(owner, type, LDNS_RR_CLASS_IN, 0) : NULL;
    if (question) return exchange(s, question, name, reason);
    ldns_rdf_deep_free(owner);
    failed(reason, name, "not a domain name");
    return NULL;
}

ldns_rr_list *dns_server_records(const ldns_pkt *answer, const char *name, ldns_rr_type type,
                                 ldns_pkt_section section) {
    ldns_rdf *owner = ldns_dname_new_frm_str(name);
    ldns_rr_list *list = owner ? ldns_pkt_rr_list_by_name_and_type(answer, owner, type, section) : NULL;
    ldns_rdf_deep_free(owner);
    return list ? list : ldns_rr_list_new();
}

static bool read_name(const ldns_rdf *name, char out[DNS_NAME_BYTES]) {
    char *text = ldns_rdf2str(name);
    size_t n = text ? strlen(text) : 0;
    bool fits = n > 1 && n <= DNS_NAME_BYTES;
    if (fits) {
        for (size_t i = 0; i + 1 < n; i++) out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
        out[n - 1] = '\0';
    }
    free(text);
    return fits;
}

/* The SOA is in the answer section if name is an apex, otherwise in the authority section (RFC 2308
 * §3). */
int dns_server_zone_of(struct dns_server *s, const char *name, char zone[DNS_NAME_BYTES], char reason[DNS_REASON_MAX]) {
    ldns_rdf *owner = ldns_dname_new_frm_str(name);
    ldns_pkt *question = owner ? ldns_pkt_query_new(owner, LDNS_RR_TYPE_SOA, LDNS_RR_CLASS_IN, 0) : NULL;
    if (!question) {
        ldns_rdf_deep_free(owner);
        return failed(reason, name, "not a domain name");
    }
    char why[DNS_REASON_MAX] = "";
    ldns_pkt *answer = exchange(s, question, name, why);
    if (!answer) {
        bool elsewhere = strncmp(why, "REFUSED", 7) == 0 || strncmp(why, "NOTAUTH", 7) == 0;
        snprintf(reason, DNS_REASON_MAX, "%s", why);
        return elsewhere ? 1 : -1; /* the name is in no zone of this server */
    }
    int result = 1;
    const ldns_rr_list *sections[] = {ldns_pkt_answer(answer), ldns_pkt_authority(answer)};
    snprintf(reason, DNS_REASON_MAX, "%.120s: the DNS server has no zone for it", name);
    for (size_t k = 0; k < 2 && result == 1 && ldns_pkt_aa(answer); k++) {
        for (size_t i = 0; i < ldns_rr_list_rr_count(sections[k]) && result == 1; i++) {
            const ldns_rr *rr = ldns_rr_list_rr(sections[k], i);
            if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && read_name(ldns_rr_owner(rr), zone)) result = 0;
        }
    }
    ldns_pkt_free(answer);
    return result;
}

int dns_server_update(struct dns_server *s, const char *zone, const ldns_rr_list *changes,
                      char reason[DNS_REASON_MAX]) {
    ldns_rdf *name = ldns_dname_new_frm_str(zone);
    ldns_pkt *update = name ? ldns_update_pkt_new(name, LDNS_RR_CLASS_IN, NULL, changes, NULL)
                            : NULL; /* the update then owns name; changes are copied */
    if (!update) {
        ldns_rdf_deep_free(name);
        return failed(reason, zone, "the update cannot be written");
    }
    ldns_pkt *answer = exchange(s, update, zone, reason);
    bool done = answer && ldns_pkt_get_rcode(answer) == LDNS_RCODE_NOERROR;
    if (answer && !done) dns_server_explain((int)ldns_pkt_get_rcode(answer), 0, zone, s->settings->key_name, reason);
    ldns_pkt_free(answer);
    return done ? 0 : -1;
}

/* The transfer ends with the SOA it began with (RFC 5936 §2.2). The signature of the first message
 * is verified; the later ones arrive on the same connection. */
int dns_server_transfer(struct dns_server *s, const char *zone, void (*each)(void *ctx, const ldns_rr *rr), void *ctx,
                        char reason[DNS_REASON_MAX]) {
    ldns_pkt *answer = dns_server_ask(s, zone, LDNS_RR_TYPE_AXFR, reason);
    int soas = 0, error = answer ? 0 : -1;
    for (int messages = 0; !error; messages++) {
        size_t count = ldns_rr_list_rr_count(ldns_pkt_answer(answer)), n;
        for (size_t i = 0; i < count && soas < 2; i++) {
            const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_answer(answer), i);
            bool soa = ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA;
            soas += soa;
            if (soas == 1) each(ctx, rr);
        }
        if (count == 0 || soas == 0) error = failed(reason, zone, "the answer is not a zone transfer");
        if (error || soas == 2) break;
        ldns_pkt_free(answer);
        answer = NULL;
        uint8_t *wire = messages < TRANSFER_MESSAGES_MAX ? ldns_tcp_read_wire_timeout(s->fd, &n, timeout) : NULL;
        if (!wire || ldns_wire2pkt(&answer, wire, n) != LDNS_STATUS_OK ||
            ldns_pkt_get_rcode(answer) != LDNS_RCODE_NOERROR)
            error = failed(reason, zone, "the zone transfer broke off");
        free(wire);
    }
    if (error) hang_up(s);
    ldns_pkt_free(answer);
    return error;
}
