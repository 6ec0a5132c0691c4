#include "libcommon/store/mailbox_lock.h"

#include <stdio.h>

enum { NAME_MAX_BYTES = 128 };

static struct slice name_of(struct slice user, char out[NAME_MAX_BYTES]) {
    snprintf(out, NAME_MAX_BYTES, "{u:%.*s}:pop3", SLICE_FMT(user));
    return slice_of(out);
}

void mailbox_lock(struct redis *r, struct slice user, const char *token, int64_t ms, lease_done_fn *done, void *ctx) {
    char name[NAME_MAX_BYTES];
    lease_acquire(r, name_of(user, name), token, ms, done, ctx);
}

void mailbox_lock_extend(struct redis *r, struct slice user, const char *token, int64_t ms, lease_done_fn *done,
                         void *ctx) {
    char name[NAME_MAX_BYTES];
    lease_extend(r, name_of(user, name), token, ms, done, ctx);
}

void mailbox_unlock(struct redis *r, struct slice user, const char *token) {
    char name[NAME_MAX_BYTES];
    lease_release(r, name_of(user, name), token, NULL, NULL);
}
