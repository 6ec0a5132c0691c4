/* What a message costs, counted by every service itself: each count is a metric at /metrics, and the sums over all
 * services divided by the messages accepted are the table in docs/performance.md. */
#ifndef POSTBUS_BASE_COST_H
#define POSTBUS_BASE_COST_H

#include <stddef.h>
#include <stdint.h>

enum cost {
    COST_BUS_SENT,     /* messages published: events, requests, answers, wakes */
    COST_BUS_RECEIVED, /* messages that came from the bus */
    COST_BUS_REQUESTS, /* of those sent, the requests */
    COST_JSON_WRITTEN, /* JSON texts written, by whichever writer */
    COST_JSON_READ,    /* JSON texts decoded, by whichever reader */
    COST_REDIS_COMMANDS,
    COST_REDIS_FCALLS, /* of the commands, the calls of our Functions */
    COST_WAKEUPS,      /* turns of a worker's loop that found something to do */
    COST_BODY_COPIES,  /* whole bodies copied in memory, and their bytes */
    COST_BODY_BYTES,
    COST_KINDS,
};

void cost_add(enum cost what, int64_t n);
/* One more whole copy of a message's body, of this size. */
void cost_body_copy(size_t bytes);
int64_t cost_value(enum cost what);

#endif
