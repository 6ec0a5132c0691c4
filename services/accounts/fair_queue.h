/* A queue that serves owners in turn: an owner with many jobs delays the first job of another by
 * one turn, not by all of its own. Not locked. */
#ifndef POSTBUS_ACCOUNTS_FAIR_QUEUE_H
#define POSTBUS_ACCOUNTS_FAIR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of the job's own struct. */
struct fair_item {
    struct fair_item *next;
    uint64_t owner, turn;
};

struct fair_queue {
    struct fair_item *first;
    size_t count, max;
    uint64_t turn; /* of the item that was taken last */
};

/* false: the queue is full. Takes time in proportion to the queue's length. */
bool fair_queue_add(struct fair_queue *q, struct fair_item *item, uint64_t owner);
/* NULL: it is empty. */
struct fair_item *fair_queue_take(struct fair_queue *q);

#endif
