#include "services/delivery/transaction/transaction.h"

#include <stdlib.h>

struct transaction *transaction_create(const struct transaction_owner *owner, struct slice from, size_t count,
                                       const size_t indexes[]) {
    struct transaction *t = memory_alloc(sizeof *t);
    *t = (struct transaction){.owner = owner, .from = from, .count = count};
    t->indexes = memory_alloc((count + 1) * sizeof *t->indexes);
    memcpy(t->indexes, indexes, count * sizeof *indexes);
    owner->began(owner->ctx);
    return t;
}

void transaction_add(struct transaction *t, size_t index) {
    t->indexes = memory_resize(t->indexes, (t->count + 1) * sizeof *t->indexes);
    t->indexes[t->count++] = index;
}

struct transaction *transaction_split(struct transaction *t, size_t n) {
    if (t->count <= n) return NULL;
    struct transaction *rest = transaction_create(t->owner, t->from, t->count - n, t->indexes + n);
    rest->forced = t->forced;
    t->count = n;
    return rest;
}

void transaction_drop(struct transaction *t) {
    const struct transaction_owner *owner = t->owner;
    free(t->indexes);
    free(t);
    owner->ended(owner->ctx);
}

void transaction_settle(struct transaction *t, const struct outcome *o) {
    struct outcome *all = memory_alloc((t->count + 1) * sizeof *all);
    for (size_t i = 0; i < t->count; i++) all[i] = *o;
    t->owner->settle(t->owner->ctx, t->count, t->indexes, all);
    free(all);
    transaction_drop(t);
}

const struct envelope_rcpt *transaction_rcpt(const struct transaction *t, size_t i) {
    return &t->owner->envelope->rcpts[t->indexes[i]];
}
