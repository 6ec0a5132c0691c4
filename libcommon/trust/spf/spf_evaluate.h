/* check_host() (RFC 7208 §4). */
#ifndef POSTBUS_TRUST_SPF_EVALUATE_H
#define POSTBUS_TRUST_SPF_EVALUATE_H

#include "libcommon/trust/spf/spf_run.h"

/* check_host() of one domain, also for include and redirect: TRUST_DONE or TRUST_PENDING. */
int spf_check_host(struct spf_run *r, struct slice domain, enum spf_result *result);

#endif
