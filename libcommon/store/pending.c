#include "libcommon/store/pending.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"

struct pending *pending_create(pending_fn *done, void *ctx) {
    if (!done) return NULL;
    struct pending *p = memory_alloc(sizeof *p);
    p->done = done;
    p->ctx = ctx;
    return p;
}

struct pending pending_take(void *pending) {
    struct pending p = *(struct pending *)pending;
    free(pending);
    return p;
}

void pending_on_done(void *pending, const redisReply *reply) {
    int error = redis_reply_error(reply); /* logs unexpected errors, also without a callback */
    if (!pending) return;
    struct pending p = pending_take(pending);
    ((void (*)(void *, int))p.done)(p.ctx, error);
}

void pending_on_result(void *pending, const redisReply *reply) {
    int error = redis_reply_error(reply);
    if (!pending) return;
    struct pending p = pending_take(pending);
    ((void (*)(void *, int))p.done)(p.ctx, error ? error : (int)redis_reply_integer(reply));
}

struct slice decimal(char out[DECIMAL_BYTES], long long value) {
    int n = snprintf(out, DECIMAL_BYTES, "%lld", value);
    return slice_make(out, (size_t)n);
}
