/* DMARC failure reports: the fields of message/feedback-report (RFC 5965 §3, RFC 6591 §3, RFC 9991
 * §4), read and written. Pure.
 *
 *   {"feedback_type":"auth-failure","user_agent","version":"1","auth_failure":"dmarc","delivery_result","identity_alignment","original_mail_from",
 *    "original_rcpt_to":[…],"source_ip","reported_domain":…,"arrival_date","authentication_results","reported_uri":[…],"dkim_domain","dkim_identity",
 *    "dkim_selector","spf_dns","incidents":N, "header":"…"}
 *
 * Members that a report lacks are missing; header is the header block of the reported message, as
 * far as the report contains it. */
#ifndef POSTBUS_REPORT_DMARC_FAILURE_H
#define POSTBUS_REPORT_DMARC_FAILURE_H

#include <jansson.h>

#include "libcommon/base/buf.h"

enum { FAILURE_TEXT_MAX = 2048, FAILURE_LIST_MAX = 20, FAILURE_HEADER_MAX = 16 * 1024 };

/* fields: the body of the message/feedback-report part. original: the third part, the header of a
 * message or a whole message; may be empty. Returns the object, which the caller owns, or NULL with
 * the reason in why. */
json_t *dmarc_failure_read(struct slice fields, struct slice original, char why[160]);

/* Adds the fields of the machine-readable part for the object, each with its CRLF. */
void dmarc_failure_write(const json_t *report, struct buf *out);

#endif
