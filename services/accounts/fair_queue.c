#include "services/accounts/fair_queue.h"

bool fair_queue_add(struct fair_queue *q, struct fair_item *item, uint64_t owner) {
    if (q->count >= q->max) return false;
    struct fair_item **at = &q->first;
    item->owner = owner;
    item->turn = q->turn;
    for (const struct fair_item *i = q->first; i; i = i->next)
        if (i->owner == owner && i->turn >= item->turn) item->turn = i->turn + 1;
    while (*at && (*at)->turn <= item->turn) at = &(*at)->next;
    item->next = *at;
    *at = item;
    q->count++;
    return true;
}

struct fair_item *fair_queue_take(struct fair_queue *q) {
    struct fair_item *item = q->first;
    if (!item) return NULL;
    q->first = item->next;
    q->turn = item->turn;
    q->count--;
    return item;
}
