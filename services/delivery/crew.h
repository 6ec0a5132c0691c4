/* The number of delivery workers of the site, in all processes, which share the connections to each
 * destination. Each worker publishes its presence every few seconds; without the bus the last
 * number is kept. */
#ifndef POSTBUS_DELIVERY_CREW_H
#define POSTBUS_DELIVERY_CREW_H

#include "services/delivery/delivery.h"

struct crew;

struct crew *crew_create(struct delivery *d);
/* Publishes that this worker leaves. */
void crew_destroy(struct crew *c);

#endif
