/* What an event tells a report: which policy it is about, and one row. Pure. */
#ifndef POSTBUS_REPORTER_FACT_H
#define POSTBUS_REPORTER_FACT_H

#include <jansson.h>

#include "libcommon/mail/domain.h"

enum { FACT_ROW_MAX = 4096, FACT_SIGNATURES_MAX = 10 };

struct fact {
    char domain[DOMAIN_BYTES];
    json_t *policy; /* dmarc: {"published":{…},"domain"}; tls: {"rua"} */
    json_t *row;    /* dmarc: a record as in dmarc_aggregate.h, without count; tls: {"policy":{…}} with "failure":{…}
                       unless it succeeded */
};

/* Of mail.accepted or mail.refused: false when it tells nothing that anybody asked to hear: it is a report, it did not
 * come in by port 25, its From domain has no DMARC record, the record has no rua, or it was only put off (451), so that
 * it comes again. refused: which of the two events it is. */
bool fact_of_mail(const json_t *data, bool refused, struct fact *out);
/* Of mail.tls: false when it is not as the schema says. */
bool fact_of_tls(const json_t *data, struct fact *out);
void fact_free(struct fact *f);

/* Of mail.accepted or mail.refused: whether the fo tag of its policy asks for a failure report of this message (RFC
 * 9989 §4.7): "0" (and none): nothing aligned passed; "1": DKIM or SPF did not pass aligned; "d": a signature failed;
 * "s": SPF failed. None is wanted of what fact_of_mail() passes over for how it came, nor of a message without a
 * sender, which may be a report on one of ours. */
bool fact_wants_failure_report(const json_t *data, bool refused);

#endif
