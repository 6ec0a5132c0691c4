/* The timer of the DKIM roll-over: checks each domain's keys when a step is due, looks up new keys
 * in DNS, and requests the next step from accounts (rotation.h). One replica does it at a time,
 * with a lease in the store that expires three turns of the timer after its holder ends. Two at
 * once would do no harm, because repeating a step changes nothing. Events make the check happen
 * sooner.
 *
 * Settings: POSTBUS_DKIM_ROTATE (180d; 0: only on request), POSTBUS_DKIM_RETIRED (7d),
 * POSTBUS_DKIM_CLOCK (10s). */
#ifndef POSTBUS_VERIFIER_ROTATE_H
#define POSTBUS_VERIFIER_ROTATE_H

#include "services/verifier/verifier.h"

enum {
    ROTATE_STEPS_MAX = 8,           /* domains that are checked at the same time */
    ROTATE_LIST_EVERY_MS = 3600000, /* all domains are listed again, because events may be lost */
    ROTATE_ASK_MS = 10000,
    ROTATE_MAKE_MS = 60000,
};

struct rotator;
struct rotator *rotator_create(struct verifier *v);
/* Must be called after resolver_destroy, whose last answers still reach the rotator. NULL is
 * allowed. */
void rotator_destroy(struct rotator *r);

#endif
