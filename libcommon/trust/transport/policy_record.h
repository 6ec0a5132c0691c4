/* TXT records of the form "v=STSv1; id=…;" that announce policies on the transport of mail: MTA-STS
 * (RFC 8461 §3.1) and TLS-RPT (RFC 8460 §3) share their grammar. Parsing is strict, as both
 * grammars are: the version is first and case-sensitive, and there is no white space around "=". */
#ifndef POSTBUS_TRUST_POLICY_RECORD_H
#define POSTBUS_TRUST_POLICY_RECORD_H

#include "libcommon/base/slice.h"

struct policy_field {
    struct slice name, value;
};

/* Whether a TXT record counts as one of this version ("v=STSv1"): it begins with it and a delimiter
 * follows. Others are discarded before the records are counted (RFC 8461 §3.1, RFC 8460 §3). *rest:
 * the fields, for policy_record_next. */
bool policy_record_is(struct slice txt, struct slice version, struct slice *rest);
/* 1: *field is the next one; 0: the end; -1: the record is malformed. spaces: whether values may
 * contain spaces, as a list of URIs may. */
int policy_record_next(struct slice *rest, bool spaces, struct policy_field *field);

#endif
