/* Looks at every part of the site (health.c). */
#ifndef POSTBUS_ADMIN_HEALTH_H
#define POSTBUS_ADMIN_HEALTH_H

struct admin;
struct health;

/* Settings that cannot be understood end the process. */
struct health *health_create(struct admin *a);
/* No request waits for it any more. */
void health_destroy(struct health *h);

#endif
