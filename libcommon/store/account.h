/* Domains, accounts, aliases and keys: the only door to a:{<domain>} keys. Used by the accounts service alone; others
 * ask it over the bus. Domains and local parts are in the form of libcommon/mail/domain.h. Everything a callback is
 * given is valid during the call only. */
#ifndef POSTBUS_STORE_ACCOUNT_H
#define POSTBUS_STORE_ACCOUNT_H

#include <jansson.h>

#include "libcommon/store/redis.h"

typedef void account_done_fn(void *ctx, int error);
/* value: what was asked for; NULL with an error. */
typedef void account_json_fn(void *ctx, int error, const json_t *value);

/* The Functions of account.lua by name, on a domain: for changes whose answer is only "done". */
void account_change(struct redis *r, const char *function, const char *domain, size_t argc, const struct slice argv[],
                    account_done_fn *done, void *ctx);

/* All domains: a sorted array of names. The list is an index beside the domains themselves: add after the domain,
 * remove after it. */
void account_domains(struct redis *r, account_json_fn *done, void *ctx);
void account_domain_listed(struct redis *r, const char *domain, bool listed, account_done_fn *done, void *ctx);

/* kind: "d" (the domain's own fields), "u", "a", "k": {"<name>": <value>, …}. STORE_NOT_FOUND: no such domain (d), else
 * an empty object. */
void account_read_all(struct redis *r, const char *domain, const char *kind, account_json_fn *done, void *ctx);
/* One account, alias or key: STORE_NOT_FOUND when it is not there. */
void account_read(struct redis *r, const char *domain, const char *kind, struct slice name, account_json_fn *done,
                  void *ctx);
/* The Functions of account.lua on a domain's DKIM keys (account_keys_add, _seen, _activate, _remove): the selectors
 * that changed, an array. Each may be asked twice: the second time nothing changes. STORE_NOT_FOUND: no such domain or
 * key; STORE_CONFLICT: the key's state does not allow it. */
void account_keys_change(struct redis *r, const char *function, const char *domain, size_t argc,
                         const struct slice argv[], account_json_fn *done, void *ctx);
/* Deletes an account and answers what it was. */
void account_delete(struct redis *r, const char *domain, struct slice local, account_json_fn *done, void *ctx);

/* kind: "remote", "account" (value: the account), "alias" (value: its targets), "unknown". name: the local part it was
 * found under. */
typedef void account_resolve_fn(void *ctx, int error, struct slice kind, struct slice name, const json_t *value);
void account_resolve(struct redis *r, const char *domain, struct slice local, account_resolve_fn *done, void *ctx);

/* The login throttle of `who` (address and client network), which all replicas share. wait: seconds until the next try
 * is allowed, 0: now. */
typedef void account_count_fn(void *ctx, int error, long long wait);
void account_login_wait(struct redis *r, const char *domain, struct slice who, account_count_fn *done, void *ctx);
/* One more failure; past the free ones within the window each makes the wait longer (60 s, doubling, at most an hour).
 */
void account_failed(struct redis *r, const char *domain, struct slice who, int window_seconds, int free_failures);
void account_cleared(struct redis *r, const char *domain, struct slice who);

#endif
