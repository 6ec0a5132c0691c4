/* Keeps the zones of all hosted domains on the authoritative DNS server as they should be (POSTBUS_DNS_SERVER): at account.changed at once, and for all domains
 * at start and every hour, because events may be lost. One domain at a time, on the pool; what fails is tried again after PUBLISH_RETRY_SECONDS. */
#ifndef POSTBUS_VERIFIER_PUBLISH_H
#define POSTBUS_VERIFIER_PUBLISH_H

#include "services/verifier/verifier.h"

enum { PUBLISH_EVERY_SECONDS = 3600, PUBLISH_RETRY_SECONDS = 15, PUBLISH_START_SECONDS = 1 };

/* NULL when POSTBUS_DNS_SERVER is empty: nothing is published. Ends the process when the secret tsig.key is missing or malformed. */
struct publisher *publisher_create(struct verifier *v);
void publisher_destroy(struct publisher *p);

#endif
