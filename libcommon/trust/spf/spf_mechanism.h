/* The mechanisms that ask DNS (RFC 7208 §5). */
#ifndef POSTBUS_TRUST_SPF_MECHANISM_H
#define POSTBUS_TRUST_SPF_MECHANISM_H

#include "libcommon/trust/spf/spf_record.h"
#include "libcommon/trust/spf/spf_run.h"

/* One DNS query of a term; void lookups are counted (§4.6.4). SPF_NO_MATCH with *answer (status OK,
 * NODATA or NXDOMAIN), or the step that ends the evaluation. A name that is invalid in DNS is not
 * queried and counts as nonexistent (§4.8 leaves this open). */
enum spf_step spf_ask(struct spf_run *r, struct slice name, int type, const struct trust_answer **answer);
/* The same without counting; NULL: pending. */
const struct trust_answer *spf_lookup(struct spf_run *r, struct slice name, int type);
/* Whether a name is valid in DNS (RFC 1035 §2.3.4). */
bool spf_is_dns_name(struct slice name);

/* Evaluates a mechanism other than all and include (§5.3 to §5.7). target: its expanded
 * domain-spec, or the current domain. */
enum spf_step spf_mechanism(struct spf_run *r, const struct spf_term *t, struct slice target);
/* The value of the p macro (§7.3) for a domain: SPF_NO_MATCH with *name, empty for "unknown", or
 * the step that ends the evaluation. counted: the queries count towards the limits. */
enum spf_step spf_validated_name(struct spf_run *r, struct slice domain, bool counted, struct slice *name);

#endif
