/* The addresses that a policy names for its reports: rua and ruf of DMARC (RFC 9989 §4.7, sizes of RFC 7489 §6.2), rua
 * of TLSRPT (RFC 8460 §3). Pure. */
#ifndef POSTBUS_REPORT_REPORT_URI_H
#define POSTBUS_REPORT_REPORT_URI_H

#include "libcommon/base/slice.h"
#include "libcommon/mail/domain.h"

enum { REPORT_URIS_MAX = 4, REPORT_URL_BYTES = 1024 };

struct report_uri {
    enum { REPORT_MAILTO, REPORT_HTTPS } scheme;
    char address[ADDRESS_BYTES_MAX]; /* mailto: local@domain, percent-decoded, domain as A-labels */
    char host[DOMAIN_BYTES];         /* of the address or URL, A-labels */
    char url[REPORT_URL_BYTES];      /* https: as it stands */
    uint64_t max_bytes;              /* of the whole mail; 0: none given */
};

/* The next usable URI of a comma-separated list: start with *rest = the tag's value. false: no more. Unknown schemes,
 * malformed addresses and mailto parameters other than an address are passed over; a "!10m" of an https URI (DMARC only
 * knows mailto) too. */
bool report_uri_next(struct slice *rest, struct report_uri *out);

#endif
