/* The number of connections of a destination, and the time of its next attempt: pure. */
#ifndef POSTBUS_DELIVERY_WINDOW_H
#define POSTBUS_DELIVERY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

#include "services/delivery/transaction/retry.h"

struct window {
    size_t size;        /* connections allowed now */
    bool proven;        /* it has accepted a transaction since its last failure */
    int failures;       /* in a row */
    int64_t until_ms;   /* end of the pause; 0: none */
    int64_t reduced_ms; /* when a further connection was refused: it does not grow for a minute
                           after */
};

struct window window_begin(void);
/* A server of the destination can be used again. */
void window_opened(struct window *w);
/* A transaction was answered. max: the number of connections that this worker may have. */
void window_succeeded(struct window *w, size_t max, int64_t now_ms);
/* A further connection was refused while others are open, or one broke: shrinks the window. */
void window_crowded(struct window *w, size_t open, int64_t now_ms);
/* No server of the destination could be used: all of its mail pauses, longer each time. */
void window_failed(struct window *w, const struct retry_policy *p, int64_t now_ms, uint32_t random);
/* Whether the destination pauses now. */
bool window_is_closed(const struct window *w, int64_t now_ms);
/* Connections allowed now, at least 1. */
size_t window_allows(const struct window *w, size_t max);
/* How many transactions may wait for a destination when `waiting` wait for all of them together:
 * half of the free room for a destination that accepts mail, an eighth for one that has not
 * accepted any, and very little when there is no free room, so that neither slow nor dead
 * destinations fill a worker. */
size_t window_room(const struct window *w, size_t waiting);
/* The time for which a message without room in memory is parked: up to half of its age. */
int64_t window_park_ms(int64_t age_ms, uint32_t random);

#endif
