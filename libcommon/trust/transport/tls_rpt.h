/* The addresses for a domain's TLS reports: the TXT record at _smtp._tls.<domain> (RFC 8460 §3).
 * Pure. */
#ifndef POSTBUS_TRUST_TLS_RPT_H
#define POSTBUS_TRUST_TLS_RPT_H

#include "libcommon/base/slice.h"

/* Whether this TXT record is a TLS-RPT record at all; a domain gets reports only if it has exactly
 * one such record. */
bool tls_rpt_record_is(struct slice txt);
/* The value of its "rua": a list of mailto: and https: URIs, separated by commas. 0, or -1 when the
 * record is malformed or has no such URI. */
int tls_rpt_record_parse(struct slice txt, struct slice *rua);

#endif
