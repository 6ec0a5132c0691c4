/* The clock of the DKIM roll-over: looks at every domain's keys when something of theirs is due, looks new ones up in
 * DNS, and asks accounts for the next step (rotation.h). One replica does it at a time, by a lease in the store that
 * ends three turns of the clock after its holder; two at once would do no harm, because each step changes nothing the
 * second time. Events make it look sooner.
 *
 * Settings: POSTBUS_DKIM_ROTATE (180d; 0: never by itself), POSTBUS_DKIM_RETIRED (7d), POSTBUS_DKIM_CLOCK (10s). */
#ifndef POSTBUS_VERIFIER_ROTATE_H
#define POSTBUS_VERIFIER_ROTATE_H

#include "services/verifier/verifier.h"

enum {
    ROTATE_STEPS_MAX = 8,           /* domains looked at at once */
    ROTATE_LIST_EVERY_MS = 3600000, /* all domains are listed again, because events may be lost */
    ROTATE_ASK_MS = 10000,
    ROTATE_MAKE_MS = 60000,
};

struct rotator;
struct rotator *rotator_create(struct verifier *v);
/* After the resolver, whose last answers still come to it. NULL is allowed. */
void rotator_destroy(struct rotator *r);

#endif
