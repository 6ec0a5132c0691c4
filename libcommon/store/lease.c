#include "libcommon/store/lease.h"

#include "libcommon/store/pending.h"

void lease_acquire(struct redis *r, struct slice name, const char *token, int64_t ms, lease_done_fn *done, void *ctx) {
    char text[DECIMAL_BYTES];
    struct slice args[] = {slice_of(token), decimal(text, ms)};
    redis_fcall(r, pending_on_done, PENDING(done, ctx), "lease_acquire", name, 2, args);
}

void lease_extend(struct redis *r, struct slice name, const char *token, int64_t ms, lease_done_fn *done, void *ctx) {
    char text[DECIMAL_BYTES];
    struct slice args[] = {slice_of(token), decimal(text, ms)};
    redis_fcall(r, pending_on_done, PENDING(done, ctx), "lease_extend", name, 2, args);
}

void lease_release(struct redis *r, struct slice name, const char *token, lease_done_fn *done, void *ctx) {
    struct slice arg = slice_of(token);
    redis_fcall(r, pending_on_done, PENDING(done, ctx), "lease_release", name, 1, &arg);
}
