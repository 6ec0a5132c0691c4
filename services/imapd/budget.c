#include "services/imapd/budget.h"

#include <stdatomic.h>

bool budget_take(struct budget *b, size_t n, size_t *taken) {
    *taken = 0;
    if (n <= BUDGET_FREE) return true;
    size_t before = atomic_fetch_add(&b->used, n);
    if (n > b->max || before > b->max - n) {
        atomic_fetch_sub(&b->used, n);
        return false;
    }
    *taken = n;
    return true;
}

void budget_give(struct budget *b, size_t *taken) {
    if (*taken) atomic_fetch_sub(&b->used, *taken);
    *taken = 0;
}
