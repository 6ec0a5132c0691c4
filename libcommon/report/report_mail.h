/* The mails in which reports are sent. Pure: the same input gives the same bytes, so that a report
 * that has to be made again is identical (RFC 9990 §3.5.2). Lines end with CRLF and have at most 78
 * characters where possible. A value cannot end its field. */
#ifndef POSTBUS_REPORT_REPORT_MAIL_H
#define POSTBUS_REPORT_REPORT_MAIL_H

#include "libcommon/base/buf.h"

struct report_mail {
    const char *from;      /* address of the From field */
    const char *to;        /* address */
    const char *id;        /* unique: in Message-ID and as the MIME boundary */
    const char *host;      /* right side of the Message-ID */
    const char *submitter; /* domain of this site */
    const char *domain;    /* the domain that the report is about */
    const char *report_id;
    int64_t begin, end; /* seconds */
    int64_t now_ms;     /* Date */
};

/* RFC 9990 §3.5.2: the report as an application/gzip attachment with the required name and
 * subject. */
void report_mail_aggregate(const struct report_mail *m, struct slice gzip, struct buf *out);
/* RFC 8460 §5.3: multipart/report of type tlsrpt with TLS-Report-Domain and TLS-Report-Submitter;
 * it is sent even when TLS fails (RFC 8689 §3). */
void report_mail_tls(const struct report_mail *m, struct slice gzip, struct buf *out);
/* RFC 6591 §3, RFC 9991 §4: multipart/report of type feedback-report. fields: the machine-readable
 * part, header: the header fields of the message that the report contains. */
void report_mail_failure(const struct report_mail *m, struct slice fields, struct slice header, struct buf *out);

/* "mx.example.org!example.com!1767225600!1767311999.xml.gz" (RFC 9990 §3.5.2, RFC 8460 §5.1). */
void report_file_name(const struct report_mail *m, const char *extension, struct buf *out);

#endif
