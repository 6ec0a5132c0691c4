/* Operations that are owed to the mailbox service. */
#include <stdio.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/ulid.h"
#include "libcommon/store/account/account_private.h"
#include "libcommon/store/lease.h"

static const char owing_key[] = "a:owing", lease_key[] = "a:owing:lease";

void account_owing_mark(struct redis *r, const char *domain, account_done_fn *done, void *ctx) {
    char now[24];
    snprintf(now, sizeof now, "%lld", (long long)clock_wall_ms());
    struct slice command[] = {SLICE("ZADD"), slice_of(owing_key), slice_of(now), slice_of(domain)};
    redis_command(r, pending_on_done, PENDING(done, ctx), 4, command);
}

void account_owing(struct redis *r, account_json_fn *done, void *ctx) {
    struct slice command[] = {SLICE("ZRANGE"), slice_of(owing_key), SLICE("0"), SLICE("-1")};
    redis_command(r, account_on_names, PENDING(done, ctx), 4, command);
}

void account_owing_clear(struct redis *r, const char *domain, int64_t since) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)since);
    struct slice args[] = {slice_of(text), slice_of(domain)};
    redis_fcall(r, pending_on_done, NULL, "account_owing_clear", slice_of(owing_key), 2, args);
}

void account_owed(struct redis *r, const char *domain, account_json_fn *done, void *ctx) {
    char key[ACCOUNT_KEY_BYTES];
    struct slice command[] = {SLICE("HGETALL"), account_key(key, domain, "owed")};
    struct pending *p = PENDING(done, ctx);
    p->note = ACCOUNT_RAW;
    redis_command(r, account_on_all, p, 2, command);
}

void account_owed_done(struct redis *r, const char *domain, const char *user, const char *owed, account_done_fn *done,
                       void *ctx) {
    struct slice args[] = {slice_of(user), slice_of(owed)};
    account_call(r, pending_on_done, PENDING(done, ctx), "account_owed_done", domain, 2, args);
}

void account_owing_lease(struct redis *r, int seconds, account_done_fn *done, void *ctx) {
    char token[ULID_BYTES]; /* a new token each time, so that no lease is extended */
    ulid_create(token);
    lease_acquire(r, slice_of(lease_key), token, seconds * 1000LL, done, ctx);
}
