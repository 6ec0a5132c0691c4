/* Checks every part of the site (health.c). */
#ifndef POSTBUS_ADMIN_HEALTH_H
#define POSTBUS_ADMIN_HEALTH_H

struct admin;
struct health;

/* Invalid settings end the process. */
struct health *health_create(struct admin *a);
/* Must be called when no request waits for it any more. */
void health_destroy(struct health *h);

#endif
