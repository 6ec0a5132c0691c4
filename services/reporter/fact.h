/* Reads the facts for a report from an event: the policy and one row. Pure. */
#ifndef POSTBUS_REPORTER_FACT_H
#define POSTBUS_REPORTER_FACT_H

#include <jansson.h>

#include "libcommon/mail/domain.h"

enum { FACT_ROW_MAX = 4096, FACT_SIGNATURES_MAX = 10 };

struct fact {
    char domain[DOMAIN_BYTES];
    json_t *policy; /* dmarc: {"published":{…},"domain"}; tls: {"rua"} */
    json_t *row;    /* dmarc: a record as in dmarc_aggregate.h, without count; tls: {"policy":{…}}
                       with "failure":{…} unless it succeeded */
};

/* For mail.accepted and mail.refused. Returns false when no report is needed: the message is a
 * report itself, it did not arrive on port 25, its From domain has no DMARC record, the record has
 * no rua, or it was only deferred (451) and will be sent again. refused: which of the two events it
 * is. */
bool fact_of_mail(const json_t *data, bool refused, struct fact *out);
/* For mail.tls: false when it does not match the schema. */
bool fact_of_tls(const json_t *data, struct fact *out);
void fact_free(struct fact *f);

/* For mail.accepted and mail.refused: whether the fo tag of the policy asks for a failure report on
 * this message (RFC 9989 §4.7): "0" (and none): nothing aligned passed; "1": DKIM or SPF did not
 * pass aligned; "d": a signature failed; "s": SPF failed. There is none for messages that
 * fact_of_mail() skips because of their origin, nor for messages with a null reverse-path, which
 * may be reports on our mail. */
bool fact_wants_failure_report(const json_t *data, bool refused);

#endif
