/* A transaction: some of a message's recipients with one reverse-path and one next hop, from the
 * moment it waits for a connection until each of them has an outcome. */
#ifndef POSTBUS_DELIVERY_TRANSACTION_H
#define POSTBUS_DELIVERY_TRANSACTION_H

#include "services/delivery/transaction/outcome.h"

/* The interface of its message. */
struct transaction_owner {
    void *ctx;
    const struct envelope *envelope;
    /* Settles these recipients, with one outcome each. */
    void (*settle)(void *ctx, size_t count, const size_t indexes[], const struct outcome outcomes[]);
    /* Whether the lease still holds: called before every command to a remote server (docs/laws.md,
     * law 2). */
    bool (*may_go_on)(void *ctx);
    /* Each call of `began` is followed by one of `ended`. */
    void (*began)(void *ctx);
    void (*ended)(void *ctx);
};

struct transaction {
    struct transaction *next;
    const struct transaction_owner *owner;
    struct slice from;
    bool forced; /* an attempt was requested: a pause of the destination is ignored */
    size_t count, *indexes;
};

/* indexes is copied. */
struct transaction *transaction_create(const struct transaction_owner *owner, struct slice from, size_t count,
                                       const size_t indexes[]);
/* Adds a recipient to one that has not begun. */
void transaction_add(struct transaction *t, size_t index);
/* Moves all but the first n recipients into a new transaction; NULL when there are no more than
 * n. */
struct transaction *transaction_split(struct transaction *t, size_t n);
/* Settles all recipients with the same outcome. Frees t. */
void transaction_settle(struct transaction *t, const struct outcome *o);
/* Ends without an outcome: the lease was lost or released. Frees t. */
void transaction_drop(struct transaction *t);
const struct envelope_rcpt *transaction_rcpt(const struct transaction *t, size_t i);

#endif
