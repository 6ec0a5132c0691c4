/* DANE for SMTP (RFC 7672, on RFC 6698 and RFC 7671): what a set of TLSA records asks of a connection. Pure; the
 * handshake itself is OpenSSL's (SSL_dane_*). */
#ifndef POSTBUS_TRUST_DANE_H
#define POSTBUS_TRUST_DANE_H

#include "libcommon/base/slice.h"

enum { DANE_RECORDS_MAX = 32, DANE_NAMES_MAX = 3 };
enum dane_usage { DANE_PKIX_TA = 0, DANE_PKIX_EE = 1, DANE_TA = 2, DANE_EE = 3 };

struct dane_record {
    unsigned char usage, selector, matching;
    struct slice data;
};

/* What follows from a host's secure TLSA records. */
enum dane_demand {
    DANE_NONE,    /* there are none: DANE says nothing */
    DANE_ENCRYPT, /* records, but none that can be used: TLS is a must, whoever the peer is (RFC 7672 §2.2) */
    DANE_VERIFY,  /* the certificate must match one of the chosen records, or nothing is sent */
};

/* One record from its wire form (RFC 6698 §2.1): 0, or -1 when it is too short to be one. */
int dane_record_parse(struct slice rdata, struct dane_record *out);
/* Whether a client can hold a certificate against it: usage 2 or 3 (0 and 1 are not for SMTP, RFC 7672 §3.1.3), a
 * selector and matching type of RFC 6698, data that fits. */
bool dane_record_is_usable(const struct dane_record *r);
/* Chooses the records to verify with: the usable ones; of digests of the same usage and selector only the strongest
 * (RFC 7671 §9). Of a set larger than DANE_RECORDS_MAX the first so many count. */
enum dane_demand dane_choose(size_t count, const struct dane_record records[], size_t *chosen_count,
                             struct dane_record chosen[DANE_RECORDS_MAX]);

/* The names of which a DANE-TA(2) certificate must hold one (RFC 7672 §3.2.2): the TLSA base domain first (which is
 * also the server name to send, §8.1), then the domain that the mail is for as it was written and at the end of its
 * aliases. Names may be empty or equal. Answers how many. */
size_t dane_reference_names(struct slice base, struct slice domain, struct slice domain_canonical,
                            struct slice names[DANE_NAMES_MAX]);

#endif
