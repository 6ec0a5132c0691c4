/* accounts: who has a mailbox here. Answers login, resolve, owns, and the administration of domains, accounts, aliases
 * and DKIM keys. */
#ifndef POSTBUS_ACCOUNTS_H
#define POSTBUS_ACCOUNTS_H

#include "libcommon/mail/domain.h"
#include "libcommon/service/service.h"
#include "libcommon/store/account.h"

/* Bounds. Past them: the error code in brackets. */
enum {
    ALIAS_DEPTH_MAX = 10,      /* an alias that leads to an alias that … [deeper targets are left out and logged] */
    ALIAS_TARGETS_MAX = 100,   /* [invalid] */
    PASSWORD_BYTES_MAX = 1024, /* [invalid], and at login [denied] */
    LOGIN_FAILURES_FREE = 10,  /* failed logins of one address from one client within the window before [busy] */
    LOGIN_WINDOW_SECONDS = 900,
    LOGIN_CACHE_SECONDS = 60,
    LOGIN_CACHE_MAX = 10000,
    LIST_MAX = 1000, /* items of a listing */
    KEYS_TTL_MAX =
        86400, /* seconds between a key seen in DNS and its first signature [a longer TTL is not waited for] */
};

struct login_cache;

/* What a worker of accounts has. */
struct accounts {
    struct worker *worker;
    struct login_cache *cache;
    unsigned char
        cache_key[32]; /* the passwords of the cache are keyed hashes, with a key that only this process knows */
};

/* One request on its way. Freed when it is answered. */
struct ask {
    struct accounts *accounts;
    struct bus_call *call;
    json_t *body;
    struct mail_address address; /* or only its domain */
    void *more;                  /* the verb's own; freed with free() */
};

struct ask *ask_create(void *ctx, struct bus_call *call, const json_t *body);
/* Both end the ask. */
void ask_answer(struct ask *a, json_t *reply);
void ask_refuse(struct ask *a, const char *code, const char *message);
/* Refuses with what a store error means; what: "account", "domain", … */
void ask_refuse_store(struct ask *a, int error, const char *what);
const char *ask_text(const struct ask *a, const char *field); /* "" when it is missing or no string */
/* Reads the field into a->address (or only its domain): false after refusing. */
bool ask_take_address(struct ask *a, const char *field);
bool ask_take_domain(struct ask *a, const char *field);
/* A page of items (sorted here by the string field `by`) as {"<field>":[…],"next":…}, as the request's `after` and
 * `limit` want it. Steals items. */
json_t *ask_page(const struct ask *a, json_t *items, const char *by, const char *field);
/* Tells the other services that something changed. */
void accounts_tell(struct accounts *s, const char *domain, const char *what, const char *name, const char *change);

void login_start(struct accounts *s);
void login_stop(struct accounts *s);
void resolve_start(struct accounts *s);
void keys_start(struct accounts *s);
void domains_start(struct accounts *s);
void domain_settings_start(struct accounts *s);
void users_start(struct accounts *s);
void aliases_start(struct accounts *s);

/* What is wrong with a value (null: none) for a setting of a domain, in words; NULL: nothing. Pure. */
const char *domain_setting_problem(const char *name, const json_t *value);
/* A domain's settings out of its fields: {"dmarc_policy":…, …}; a new object. */
json_t *domain_settings_read(const json_t *fields);

/* argon2id of a password, for the store; off the loop. 0 or -1. */
int password_hash(const char *password, char out[128]);
/* Makes an rsa-2048 or ed25519 DKIM key: {"algorithm","private_pem","public_b64","created"}; NULL on failure. Costly
 * (RSA). */
json_t *dkim_key_create(const char *algorithm);

/* keys.c: a pair of keys for the ask's domain, rsa-2048 for everyone and ed25519 for those who can (RFC 8463), made off
 * the loop. done is called with them (valid during the call), or the ask is refused. */
enum { KEYS_MADE = 2, KEYS_MONTH_BYTES = 16 };
typedef void keys_made_fn(struct ask *a, json_t *const keys[KEYS_MADE]);
void keys_make(struct ask *a, keys_made_fn *done);
/* "202611": what the selectors made this month begin with, behind r or e. */
const char *keys_month(char out[KEYS_MONTH_BYTES]);

#endif
