/* TLS reports (RFC 8460 §4): JSON, read and written. Pure. The object has the member names of the
 * RFC; unknown members are left out:
 *
 *   {"organization-name","date-range":{"start-datetime","end-datetime"},"contact-info","report-id",
 *    "policies":[{"policy":{"policy-type","policy-string":[…],"policy-domain","mx-host":[…]},
 *                 "summary":{"total-successful-session-count","total-failure-session-count"},
 *                 "failure-details":[{"result-type","sending-mta-ip","receiving-mx-hostname","receiving-mx-helo","receiving-ip","failed-session-count",
 *                                     "additional-information","failure-reason-code"}]}]} */
#ifndef POSTBUS_REPORT_TLS_REPORT_H
#define POSTBUS_REPORT_TLS_REPORT_H

#include <jansson.h>

#include "libcommon/base/buf.h"

/* Policies and details beyond these bounds are left out, longer texts are cut; JSON nested deeper
 * than jansson's own bound (2,048) is refused. */
enum {
    TLS_REPORT_POLICIES_MAX = 200,
    TLS_REPORT_DETAILS_MAX = 2000,
    TLS_REPORT_STRINGS_MAX = 64,
    TLS_REPORT_TEXT_MAX = 1024
};

/* Reads a report. Returns the object, which the caller owns, or NULL with the reason in why.
 * Tolerates missing texts, numbers written as texts, and a single text in place of a list, as some
 * senders write them. A date range and one policy with a domain are required. */
json_t *tls_report_read(struct slice json, char why[160]);

/* The times of a report, in seconds (start inclusive); 0 or -1. */
int tls_report_range(const json_t *report, int64_t *begin, int64_t *end);
/* The domain of its first policy, "" when there is none. A report is about one domain (RFC 8460
 * §4.4). */
const char *tls_report_domain(const json_t *report);
void tls_report_totals(const json_t *report, json_int_t *succeeded, json_int_t *failed);

/* Whether word is one of the result types of RFC 8460 §4.3. */
bool tls_report_is_result(const char *word);

enum { TLS_REPORT_TIME_BYTES = 24 };
/* "2026-11-24T00:00:00Z" (RFC 3339). */
const char *tls_report_time(int64_t seconds, char out[TLS_REPORT_TIME_BYTES]);

#endif
