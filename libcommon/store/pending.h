/* A request that waits for an answer of Redis: the caller's callback, of any type, and its context.
 * Private to libcommon/store. */
#ifndef POSTBUS_STORE_PENDING_H
#define POSTBUS_STORE_PENDING_H

#include "libcommon/store/redis.h"

typedef void pending_fn(void); /* any function: cast back to its own type before it is called */
struct pending {
    pending_fn *done;
    void *ctx;
    long long note; /* the door's own */
};

/* NULL when there is no callback. */
struct pending *pending_create(pending_fn *done, void *ctx);
#define PENDING(done, ctx) pending_create((pending_fn *)(done), ctx)
/* Returns a copy and frees the memory. */
struct pending pending_take(void *pending);

/* A redis_reply_fn for callbacks of the type void(void *ctx, int error): 0 or enum store_error. */
void pending_on_done(void *pending, const redisReply *reply);
/* The same, but a positive integer reply is passed on. */
void pending_on_result(void *pending, const redisReply *reply);

enum { DECIMAL_BYTES = 24 };
struct slice decimal(char out[DECIMAL_BYTES], long long value);

#endif
