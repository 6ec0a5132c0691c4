/* A domain's DKIM keys. */
#include "libcommon/store/account/account_private.h"

enum { SELECTORS_MAX = 64 };

void account_keys_add(struct redis *r, const char *domain, const char *now, const char *month, bool urgent,
                      size_t count, const char *const keys[], account_json_fn *done, void *ctx) {
    struct slice args[3 + SELECTORS_MAX] = {slice_of(now), slice_of(month), urgent ? SLICE("1") : SLICE("0")};
    size_t n = 3;
    for (size_t i = 0; i < count && i < SELECTORS_MAX; i++) args[n++] = slice_of(keys[i]);
    account_call(r, account_on_names, PENDING(done, ctx), "account_keys_add", domain, n, args);
}

void account_keys_seen(struct redis *r, const char *domain, const char *now, const char *ready, size_t seen_count,
                       const char *const seen[], size_t unseen_count, const char *const unseen[], account_json_fn *done,
                       void *ctx) {
    struct slice args[2 + 2 * SELECTORS_MAX] = {slice_of(now), slice_of(ready)};
    size_t n = 2;
    for (size_t i = 0; i < seen_count + unseen_count && i < SELECTORS_MAX; i++) {
        args[n++] = slice_of(i < seen_count ? seen[i] : unseen[i - seen_count]);
        args[n++] = i < seen_count ? SLICE("1") : SLICE("0");
    }
    account_call(r, account_on_names, PENDING(done, ctx), "account_keys_seen", domain, n, args);
}

/* The time where there is one, then the selectors. */
static void change_listed(struct redis *r, const char *function, const char *domain, const char *now, size_t count,
                          const char *const selectors[], account_json_fn *done, void *ctx) {
    struct slice args[1 + SELECTORS_MAX];
    size_t n = 0;
    if (now) args[n++] = slice_of(now);
    for (size_t i = 0; i < count && i < SELECTORS_MAX; i++) args[n++] = slice_of(selectors[i]);
    account_call(r, account_on_names, PENDING(done, ctx), function, domain, n, args);
}

void account_keys_activate(struct redis *r, const char *domain, const char *now, size_t count,
                           const char *const selectors[], account_json_fn *done, void *ctx) {
    change_listed(r, "account_keys_activate", domain, now, count, selectors, done, ctx);
}

void account_keys_remove(struct redis *r, const char *domain, size_t count, const char *const selectors[],
                         account_json_fn *done, void *ctx) {
    change_listed(r, "account_keys_remove", domain, NULL, count, selectors, done, ctx);
}
