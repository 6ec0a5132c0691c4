/* DANE for SMTP (RFC 7672, on RFC 6698 and RFC 7671): the demands of a set of TLSA records on a
 * connection. Pure; OpenSSL does the handshake itself (SSL_dane_*). */
#ifndef POSTBUS_TRUST_DANE_H
#define POSTBUS_TRUST_DANE_H

#include "libcommon/base/slice.h"

enum { DANE_RECORDS_MAX = 32, DANE_NAMES_MAX = 3 };
enum dane_usage { DANE_PKIX_TA = 0, DANE_PKIX_EE = 1, DANE_TA = 2, DANE_EE = 3 };

struct dane_record {
    unsigned char usage, selector, matching;
    struct slice data;
};

/* The demand of a host's secure TLSA records. */
enum dane_demand {
    DANE_NONE,    /* there are none: DANE does not apply */
    DANE_ENCRYPT, /* there are records, but none is usable: TLS is required, without authentication
                     (RFC 7672 §2.2) */
    DANE_VERIFY,  /* the certificate must match one of the chosen records, or nothing is sent */
};

/* Parses one record in wire format (RFC 6698 §2.1): 0, or -1 when it is too short. */
int dane_record_parse(struct slice rdata, struct dane_record *out);
/* Whether a client can compare a certificate with it: usage 2 or 3 (0 and 1 are not for SMTP, RFC
 * 7672 §3.1.3), a selector and matching type of RFC 6698, valid data. */
bool dane_record_is_usable(const struct dane_record *r);
/* Chooses the records for verification: the usable ones; of digests of the same usage and selector
 * only the strongest (RFC 7671 §9). Of a larger set only the first DANE_RECORDS_MAX records are
 * used. */
enum dane_demand dane_choose(size_t count, const struct dane_record records[], size_t *chosen_count,
                             struct dane_record chosen[DANE_RECORDS_MAX]);

/* The names one of which a DANE-TA(2) certificate must have (RFC 7672 §3.2.2): the TLSA base domain
 * first (which is also the server name to send, §8.1), then the recipient's domain as written, and
 * the end of its chain of aliases. Names may be empty or equal. Returns their number. */
size_t dane_reference_names(struct slice base, struct slice domain, struct slice domain_canonical,
                            struct slice names[DANE_NAMES_MAX]);

#endif
