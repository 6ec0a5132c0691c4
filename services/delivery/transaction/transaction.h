/* A transaction: some of a message's recipients with one reverse-path and one next hop, from the moment it waits for a
 * connection until each of them has an outcome. */
#ifndef POSTBUS_DELIVERY_TRANSACTION_H
#define POSTBUS_DELIVERY_TRANSACTION_H

#include "services/delivery/transaction/outcome.h"

/* The message it belongs to, as far as a transaction knows it. */
struct transaction_owner {
    void *ctx;
    const struct envelope *envelope;
    /* How the tries of these recipients ended, one outcome each. */
    void (*settle)(void *ctx, size_t count, const size_t indexes[], const struct outcome outcomes[]);
    /* Whether the lease still holds: asked before every command to a remote server (docs/laws.md, law 2). */
    bool (*may_go_on)(void *ctx);
    /* As many calls of `ended` follow as of `began`. */
    void (*began)(void *ctx);
    void (*ended)(void *ctx);
};

struct transaction {
    struct transaction *next;
    const struct transaction_owner *owner;
    struct slice from;
    bool forced; /* somebody asked for a try now: a pause of the destination does not count */
    size_t count, *indexes;
};

/* indexes is copied. */
struct transaction *transaction_create(const struct transaction_owner *owner, struct slice from, size_t count,
                                       const size_t indexes[]);
/* Adds a recipient to one that has not begun. */
void transaction_add(struct transaction *t, size_t index);
/* Takes all but the first n recipients away, into a new one; NULL when there are not so many. */
struct transaction *transaction_split(struct transaction *t, size_t n);
/* The same outcome for all recipients, then the end. Frees t. */
void transaction_settle(struct transaction *t, const struct outcome *o);
/* Ends without an outcome: the lease is lost or handed back. Frees t. */
void transaction_drop(struct transaction *t);
const struct envelope_rcpt *transaction_rcpt(const struct transaction *t, size_t i);

#endif
