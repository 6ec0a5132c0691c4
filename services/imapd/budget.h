/* Memory that clients make this process hold: literals as they arrive, and messages that a client
 * asked for and does not take. One sum for all workers, POSTBUS_IMAP_MEMORY at most; what a session
 * may hold is bounded by LIMIT_APPEND and LIMIT_READ_AHEAD_BYTES. Things of at most BUDGET_FREE
 * bytes are not counted. */
#ifndef POSTBUS_IMAPD_BUDGET_H
#define POSTBUS_IMAPD_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

enum { BUDGET_FREE = 256 * 1024 };

struct budget {
    size_t max;
    _Atomic size_t used;
};

/* Takes n bytes: *taken is what budget_give gives back. False when there is no room for them now;
 * *taken is 0 then. */
bool budget_take(struct budget *b, size_t n, size_t *taken);
/* Gives back and sets *taken to 0. */
void budget_give(struct budget *b, size_t *taken);

#endif
