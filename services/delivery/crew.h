/* How many delivery workers the site has, in all processes: they share the connections to each destination. Each says
 * every few seconds on the bus that it is there; without the bus the last number stays. */
#ifndef POSTBUS_DELIVERY_CREW_H
#define POSTBUS_DELIVERY_CREW_H

#include "services/delivery/delivery.h"

struct crew;

struct crew *crew_create(struct delivery *d);
/* Says goodbye. */
void crew_destroy(struct crew *c);

#endif
