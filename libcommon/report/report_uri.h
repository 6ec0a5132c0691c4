/* The addresses for reports in a policy: rua and ruf of DMARC (RFC 9989 §4.7, sizes of RFC 7489
 * §6.2), rua of TLSRPT (RFC 8460 §3). Pure. */
#ifndef POSTBUS_REPORT_REPORT_URI_H
#define POSTBUS_REPORT_REPORT_URI_H

#include "libcommon/base/slice.h"
#include "libcommon/mail/domain.h"

enum { REPORT_URIS_MAX = 4, REPORT_URL_BYTES = 1024 };

struct report_uri {
    enum { REPORT_MAILTO, REPORT_HTTPS } scheme;
    char address[ADDRESS_BYTES_MAX]; /* mailto: local@domain, percent-decoded, domain as A-labels */
    char host[DOMAIN_BYTES];         /* of the address or URL, A-labels */
    char url[REPORT_URL_BYTES];      /* https: as written */
    uint64_t max_bytes;              /* of the whole mail; 0: none given */
};

/* The next usable URI of a comma-separated list: start with *rest = the tag's value. false: no
 * more. Unknown schemes, malformed addresses, mailto parameters other than an address, and a "!10m"
 * of an https URI (DMARC defines it only for mailto) are ignored. */
bool report_uri_next(struct slice *rest, struct report_uri *out);

#endif
