/* argon2 of logins, outside the loops: a bounded queue of the process that serves networks in turn,
 * on one thread for each core. A job whose deadline has passed at its turn is not executed. */
#ifndef POSTBUS_ACCOUNTS_HASHING_H
#define POSTBUS_ACCOUNTS_HASHING_H

#include "libcommon/service/service.h"
#include "services/accounts/fair_queue.h"

/* Part of the job's own struct, as its first member. */
struct hashing {
    struct fair_item item;
    struct worker *worker;
    void (*run)(struct hashing *h);             /* on a pool thread */
    void (*done)(struct hashing *h, bool late); /* on the worker's loop; late: run was not called */
    int64_t deadline_us;
    bool late;
};

void hashing_configure(void);
/* owner: a number of the network. false: the queue is full, and nothing is called. */
bool hashing_add(struct hashing *h, uint64_t owner);

#endif
