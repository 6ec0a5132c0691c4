/* Domains, accounts, aliases and keys: with login.h the only module that accesses a:{<domain>}
 * keys. Used only by the accounts service; others send it requests on the bus. Domains and local
 * parts are in the form of libcommon/mail/domain.h. Everything a callback is given is valid during
 * the call only. */
#ifndef POSTBUS_STORE_ACCOUNT_H
#define POSTBUS_STORE_ACCOUNT_H

#include <jansson.h>

#include "libcommon/store/redis.h"

typedef void account_done_fn(void *ctx, int error);
/* value: the result; NULL with an error. */
typedef void account_json_fn(void *ctx, int error, const json_t *value);

/* All domains: a sorted array of names. The list is an index beside the domains themselves: add
 * after the domain, remove after it. */
void account_domains(struct redis *r, account_json_fn *done, void *ctx);
void account_domain_listed(struct redis *r, const char *domain, bool listed, account_done_fn *done, void *ctx);

/* kind: "d" (the domain's own fields), "u", "a", "k": {"<name>": <value>, …}. STORE_NOT_FOUND: no
 * such domain (d), else an empty object. */
void account_read_all(struct redis *r, const char *domain, const char *kind, account_json_fn *done, void *ctx);
/* One account, alias or key: STORE_NOT_FOUND when it does not exist. */
void account_read(struct redis *r, const char *domain, const char *kind, struct slice name, account_json_fn *done,
                  void *ctx);
/* An account as its stored text, which account_set compares. */
typedef void account_text_fn(void *ctx, int error, struct slice text);
void account_read_text(struct redis *r, const char *domain, struct slice local, account_text_fn *done, void *ctx);
/* A secret text that is the same for all replicas, and always. */
void account_secret(struct redis *r, account_text_fn *done, void *ctx);
/* A domain begins with its first keys: selector and JSON text of each. created: RFC 3339.
 * STORE_EXISTS. */
struct account_field {
    const char *name, *value;
};
void account_domain_add(struct redis *r, const char *domain, const char *created, size_t key_count,
                        const struct account_field keys[], account_done_fn *done, void *ctx);
/* Sets fields of the domain; a value NULL removes the field. STORE_NOT_FOUND. */
void account_domain_set(struct redis *r, const char *domain, size_t count, const struct account_field fields[],
                        account_done_fn *done, void *ctx);
/* Returns an array with local part and user id of each account that was deleted with it; their
 * deletion is owed to the mailbox service (below). STORE_CONFLICT without force if it has accounts;
 * STORE_NOT_FOUND. */
void account_domain_delete(struct redis *r, const char *domain, bool force, account_json_fn *done, void *ctx);

/* targets: a JSON array of addresses. STORE_NOT_FOUND: no such domain; STORE_EXISTS: an account has
 * the address. */
void account_alias_set(struct redis *r, const char *domain, const char *local, const char *targets,
                       account_done_fn *done, void *ctx);
void account_alias_delete(struct redis *r, const char *domain, const char *local, account_done_fn *done, void *ctx);

/* A domain's DKIM keys. Each function returns an array of the selectors that changed, and may be
 * repeated: the second call changes nothing. Times are RFC 3339 texts. STORE_NOT_FOUND: no such
 * domain or key; STORE_CONFLICT: the key's state does not allow it. */
/* keys: JSON texts without their selectors, which are made from the month ("202611") and are the
 * answer. urgent: the present keys are compromised. An empty answer: a roll-over is pending
 * already. */
void account_keys_add(struct redis *r, const char *domain, const char *now, const char *month, bool urgent,
                      size_t count, const char *const keys[], account_json_fn *done, void *ctx);
/* Which published keys are in DNS (seen; ready: when the caches have them) and which are not. Up to
 * 64 together. */
void account_keys_seen(struct redis *r, const char *domain, const char *now, const char *ready, size_t seen_count,
                       const char *const seen[], size_t unseen_count, const char *const unseen[], account_json_fn *done,
                       void *ctx);
void account_keys_activate(struct redis *r, const char *domain, const char *now, size_t count,
                           const char *const selectors[], account_json_fn *done, void *ctx);
void account_keys_remove(struct redis *r, const char *domain, size_t count, const char *const selectors[],
                         account_json_fn *done, void *ctx);

/* Accounts. An operation that the mailbox service has to do is recorded as owed by the Function
 * that makes the change, as "quota <bytes> <local part>" (NULL: nothing is owed); a deletion owes
 * "delete". Before one of these the domain must be in the index of domains that may owe something:
 * account_owing_mark. account_add: STORE_NOT_FOUND: no such domain; STORE_EXISTS: the address is
 * taken. */
void account_add(struct redis *r, const char *domain, struct slice local, struct slice account, const char *user,
                 const char *owed, account_done_fn *done, void *ctx);
/* was: the text that was read. STORE_CONFLICT: it has changed since. */
void account_set(struct redis *r, const char *domain, struct slice local, struct slice was, struct slice account,
                 const char *user, const char *owed, account_done_fn *done, void *ctx);
/* Deletes an account and returns it. */
void account_delete(struct redis *r, const char *domain, struct slice local, account_json_fn *done, void *ctx);

/* The index of domains that may owe something. mark: before the change. clear: when a domain owed
 * nothing and was last marked before `since` (ms since 1970): far enough in the past that no change
 * is between its mark and its Function. */
void account_owing_mark(struct redis *r, const char *domain, account_done_fn *done, void *ctx);
void account_owing(struct redis *r, account_json_fn *done, void *ctx);
void account_owing_clear(struct redis *r, const char *domain, int64_t since);
/* {"<user id>": "quota <bytes> <local part>" or "delete", …} */
void account_owed(struct redis *r, const char *domain, account_json_fn *done, void *ctx);
/* The mailbox service has done it: it is no longer owed, unless a newer operation is. */
void account_owed_done(struct redis *r, const char *domain, const char *user, const char *owed, account_done_fn *done,
                       void *ctx);
/* Whether this replica may check the owed operations now: one replica does, and no other for the
 * next `seconds`. STORE_LOST: another replica has the lease. */
void account_owing_lease(struct redis *r, int seconds, account_done_fn *done, void *ctx);

/* Resolves up to 1,000 local parts of a domain: the callback is called once for each, i from 0, and
 * then once with i = count and an empty kind; with an error there is only that last call. kind:
 * "remote", "account" (value: the account), "alias" (value: its targets), "unknown". name: the
 * local part it was found under. */
enum { ACCOUNT_RESOLVE_MAX = 1000 };
typedef void account_resolve_fn(void *ctx, int error, size_t i, struct slice kind, struct slice name,
                                const json_t *value);
void account_resolve(struct redis *r, const char *domain, size_t count, const struct slice locals[],
                     account_resolve_fn *done, void *ctx);

#endif
