/* Reads received reports: a mail with a report in one of its parts, or a file. Pure. */
#ifndef POSTBUS_REPORT_REPORT_READ_H
#define POSTBUS_REPORT_REPORT_READ_H

#include <jansson.h>

#include "libcommon/base/slice.h"

enum report_kind { REPORT_DMARC, REPORT_TLS, REPORT_FAILURE, REPORT_UNREADABLE };
/* "dmarc", "tls", "failures", "unreadable": as in the API's paths. */
const char *report_kind_text(enum report_kind kind);

enum { REPORT_JSON_MAX = 600 * 1024, REPORT_DOMAIN_BYTES = 256 };

struct report_read {
    enum report_kind kind;
    json_t *report;                   /* the object of dmarc_aggregate.h, tls_report.h or
                                         dmarc_failure.h; NULL when unreadable */
    char domain[REPORT_DOMAIN_BYTES]; /* the domain that it is about, in the form of domain.h; "" */
    int64_t begin, end;               /* seconds; 0 */
    json_int_t passed, failed;        /* messages or sessions */
    char why[160];                    /* the reason, when unreadable */
};

/* Reads a whole mail: the first part that is a report (RFC 9990 §3.5.2, RFC 8460 §5.3, RFC 5965 §2;
 * also found by its file name, because senders differ). The caller frees the report with
 * report_read_free(). Records beyond REPORT_JSON_MAX bytes of JSON are cut off and counted in
 * records_cut. */
void report_read_mail(struct slice message, struct report_read *out);
/* Reads a file: XML, JSON, either in gzip or zip, or a whole mail. */
void report_read_file(struct slice bytes, struct report_read *out);
void report_read_free(struct report_read *r);

#endif
