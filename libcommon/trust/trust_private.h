/* What the files of trust.h share. Private to them. */
#ifndef POSTBUS_TRUST_TRUST_PRIVATE_H
#define POSTBUS_TRUST_TRUST_PRIVATE_H

#include "libcommon/trust/trust.h"

/* The client's name, if one of its PTR names leads back to it (RFC 8601 §3). TRUST_PENDING as elsewhere. */
int iprev_check(struct arena *arena, const struct trust_input *in, const struct trust_dns *dns, struct trust_result *out);
const char *iprev_text(const struct trust_result *r);
/* Finds the fields that came with the message and claim to be our verdict: they go (RFC 8601 §5, §4.1). */
void results_find_foreign(struct arena *arena, const struct trust_input *in, struct trust_result *out);

#endif
