/* How many connections a destination may have, and when it is tried again: pure. */
#ifndef POSTBUS_DELIVERY_WINDOW_H
#define POSTBUS_DELIVERY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

#include "services/delivery/transaction/retry.h"

struct window {
    size_t size;        /* connections allowed now */
    bool proven;        /* it has taken a transaction since it failed last */
    int failures;       /* in a row */
    int64_t until_ms;   /* it is left alone until then; 0: it is not */
    int64_t reduced_ms; /* when a further connection was refused: it does not grow for a minute after */
};

struct window window_begin(void);
/* A server of the destination can be used again. */
void window_opened(struct window *w);
/* A transaction came to its answer. max: what the site allows this worker. */
void window_succeeded(struct window *w, size_t max, int64_t now_ms);
/* A further connection was refused while others are open, or one broke: fewer will do. */
void window_crowded(struct window *w, size_t open, int64_t now_ms);
/* No server of the destination could be used: all of its mail waits, longer each time. */
void window_failed(struct window *w, const struct retry_policy *p, int64_t now_ms, uint32_t random);
/* Whether the destination is left alone now. */
bool window_is_closed(const struct window *w, int64_t now_ms);
/* Connections allowed now, at least 1. */
size_t window_allows(const struct window *w, size_t max);
/* How many transactions may wait for a destination when `waiting` wait for all of them together: half of the room that
 * is free for one that takes mail, an eighth for one that has not taken any, and hardly any when none is free, so that
 * neither slow nor dead destinations fill a worker. */
size_t window_room(const struct window *w, size_t waiting);
/* For how long a message is parked that finds no room to wait in memory: up to half of its age. */
int64_t window_park_ms(int64_t age_ms, uint32_t random);

#endif
