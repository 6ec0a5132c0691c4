/* DMARC aggregate reports: the XML of RFC 9990 Appendix A (and RFC 7489 Appendix C, which most
 * sites still send) and a JSON object for it. Pure.
 *
 *   {"version":"1.0","org":"…","email":"…","extra_contact":"…","report_id":"…","begin":<s>,"end":<s>,"generator":"…","errors":["…"],
 *    "policy":{"domain","p","sp","np","adkim","aspf","pct","fo","testing","discovery_method"},
 *    "records":[{"source_ip","count","disposition","dkim","spf","reasons":[{"type","comment"}],"header_from","envelope_from","envelope_to",
 *                "auth_dkim":[{"domain","selector","result","human_result"}],"auth_spf":[{"domain","scope","result","human_result"}]}],
 *    "records_cut":N}
 *
 * Members other than org, begin, end, policy.domain, records and a record's source_ip and count may
 * be missing, because some senders leave them out. */
#ifndef POSTBUS_REPORT_DMARC_AGGREGATE_H
#define POSTBUS_REPORT_DMARC_AGGREGATE_H

#include <jansson.h>

#include "libcommon/base/buf.h"

/* Bounds of what is read. A text beyond AGGREGATE_TEXT_MAX is cut, and records beyond
 * AGGREGATE_RECORDS_MAX are counted in records_cut. A report beyond another bound is refused. */
enum {
    AGGREGATE_DEPTH_MAX = 32,
    AGGREGATE_ELEMENTS_MAX = 2000000,
    AGGREGATE_TEXT_MAX = 1024,
    AGGREGATE_RECORDS_MAX = 20000,
    AGGREGATE_LIST_MAX = 100
};

/* Reads a report, in either namespace or none. Returns the object, which the caller owns, or NULL
 * with the reason in why. A document type declaration, and so every entity, is refused. */
json_t *dmarc_aggregate_read(struct slice xml, char why[160]);

/* Adds the XML of RFC 9990 for the object. */
void dmarc_aggregate_write(const json_t *report, struct buf *xml);

/* The number of messages of all records, and of those that passed DMARC (DKIM or SPF passed and
 * aligned). */
void dmarc_aggregate_totals(const json_t *report, json_int_t *messages, json_int_t *passed);

#endif
