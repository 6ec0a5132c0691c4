/* Counters of the work that messages cause. Each service counts its own work, and each counter is a
 * metric at /metrics. The table in docs/performance.md has the sums over all services, divided by
 * the number of accepted messages. */
#ifndef POSTBUS_BASE_COST_H
#define POSTBUS_BASE_COST_H

#include <stddef.h>
#include <stdint.h>

enum cost {
    COST_BUS_SENT,     /* messages published: events, requests, answers, wakes */
    COST_BUS_RECEIVED, /* messages received from the bus */
    COST_BUS_REQUESTS, /* requests among the messages published */
    COST_JSON_WRITTEN, /* JSON texts written, by any library */
    COST_JSON_READ,    /* JSON texts decoded, by any library */
    COST_REDIS_COMMANDS,
    COST_REDIS_FCALLS, /* calls of our Functions among the commands */
    COST_WAKEUPS,      /* turns of a worker's loop that had events to handle */
    COST_BODY_COPIES,  /* whole bodies copied in memory, and their bytes */
    COST_BODY_BYTES,
    COST_KINDS,
};

void cost_add(enum cost what, int64_t n);
/* One more whole copy of a message's body, of this size. */
void cost_body_copy(size_t bytes);
int64_t cost_value(enum cost what);

#endif
