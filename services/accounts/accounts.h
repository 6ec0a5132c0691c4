/* accounts: domains, accounts, aliases and DKIM keys. Answers the requests login, resolve, owns,
 * and those for administration. */
#ifndef POSTBUS_ACCOUNTS_H
#define POSTBUS_ACCOUNTS_H

#include "libcommon/mail/domain.h"
#include "libcommon/service/scram.h"
#include "libcommon/service/service.h"
#include "libcommon/store/account.h"

/* Bounds. Beyond them: the error code in brackets. */
enum {
    ALIAS_DEPTH_MAX = 10,        /* levels of aliases [too_many] */
    ALIAS_TARGETS_MAX = 500,     /* of one alias [invalid] */
    ALIAS_ADDRESSES_MAX = 1000,  /* that an alias leads to, through others too [too_many] */
    PASSWORD_BYTES_MAX = 1024,   /* [invalid], and at login [denied] */
    LOGIN_FAILURES_PAIR = 10,    /* failed logins of one address from one network within the window
                                    before [busy] */
    LOGIN_FAILURES_ACCOUNT = 50, /* of one address from all networks that it never logged in from */
    LOGIN_FAILURES_NETWORK = 30, /* of all addresses from one network: IPv4 address or IPv6 /64 */
    LOGIN_FAILURES_WIDE = 200,   /* of all addresses from one IPv6 /48 */
    LOGIN_WINDOW_SECONDS = 900,
    LOGIN_DEADLINE_MS = 7500, /* a password that was not checked by then is not checked any more
                                 [busy] */
    LOGIN_WAITING_MAX = 1000, /* logins of a worker that wait for others of their network or account
                                 [busy] */
    HASH_QUEUE_MAX = 500,     /* logins of the process that wait for a core [busy] */
    LOGIN_CACHE_SECONDS = 60,
    LOGIN_CACHE_MAX = 10000,
    LOGINS_MAX = 200,            /* logins of accounts.logins [invalid] */
    LIST_MAX = 1000,             /* items of a listing */
    LIST_BYTES_MAX = 600 * 1024, /* approximate size limit of a page of a listing */
    KEYS_TTL_MAX = 86400,        /* seconds between a key seen in DNS and its first signature [a
                                    longer TTL is not waited for] */
    SET_TRIES_MAX = 8,           /* an account that changes each time it is about to be written
                                    [busy] */
    OWED_SECONDS = 5,            /* between two checks of owed operations */
    OWED_ANSWER_MS = 5000,       /* time for which an answer waits for the mailbox service, which
                                    continues in any case */
    OWED_QUOTA_MS = 10000,       /* the mailbox service's time for one operation; after it, it is
                                    tried again */
    OWED_DELETE_MS = 60000,
    OWED_RUNNING_MAX = 64, /* operations at the same time in a worker: the others at the next
                              check */
};

struct owed;

/* A worker of accounts. */
struct accounts {
    struct worker *worker;
    int asks; /* unanswered requests */
    int logins_waiting;
    struct owed *owed; /* operations that run */
    int owed_count;
    struct event *owed_clock;
};

/* One running request. Freed when it is answered. */
struct ask {
    struct accounts *accounts;
    struct bus_call *call;
    json_t *body;
    struct mail_address address; /* or only its domain */
    void *more;                  /* data of the verb; freed with free() */
};

/* body: copied; NULL for a request that was read as text. */
struct ask *ask_create(void *ctx, struct bus_call *call, const json_t *body);
/* Each of these ends the ask. */
void ask_answer(struct ask *a, json_t *reply);
void ask_answer_text(struct ask *a, struct slice reply);
void ask_refuse(struct ask *a, const char *code, const char *message);
/* Refuses with the error code for a store error; what: "account", "domain", … */
void ask_refuse_store(struct ask *a, int error, const char *what);
const char *ask_text(const struct ask *a, const char *field); /* "" when it is missing or no
                                                                 string */
/* Reads the text or the field into a->address (or only its domain): false after refusing. */
bool ask_set_address(struct ask *a, struct slice address);
bool ask_take_address(struct ask *a, const char *field);
bool ask_take_domain(struct ask *a, const char *field);
/* A page of items (sorted here by the string field `by`) as {"<field>":[…],"next":…}, according to
 * the request's `after` and `limit`. Takes ownership of items. */
json_t *ask_page(const struct ask *a, json_t *items, const char *by, const char *field);
/* Tells the other services that something changed. */
void accounts_tell(struct accounts *s, const char *domain, const char *what, const char *name, const char *change);
/* The same for an account. sessions_end: its password was changed or it was deleted, so its
 * sessions end. */
void accounts_tell_account(struct accounts *s, const char *domain, const char *address, const char *user,
                           const char *change, bool sessions_end);

/* owed.c: sends the owed operation of a user, which was recorded with the change
 * (libcommon/store/account.h), to the mailbox service until it is done. reply (ownership is taken)
 * is the answer of the request, given when it is done or OWED_ANSWER_MS later; a NULL: none. */
void owed_do(struct accounts *s, const char *domain, const char *user, const char *what, struct ask *a, json_t *reply);
void owed_start(struct accounts *s);
void owed_stop(struct accounts *s);

/* Before the workers start, and after they ended. */
void login_configure(void);
void login_cleanup(void);
void login_start(struct accounts *s);
void logins_start(struct accounts *s);
void resolve_start(struct accounts *s);
void keys_start(struct accounts *s);
void domains_start(struct accounts *s);
void domain_settings_start(struct accounts *s);
void users_start(struct accounts *s);
void records_start(struct accounts *s);
void aliases_start(struct accounts *s);

/* The fault of a value (null: none) for a setting of a domain, in words; NULL: no fault. Pure. */
const char *domain_setting_problem(const char *name, const json_t *value);
/* A domain's settings out of its fields: {"dmarc_policy":…, …}; a new object. */
json_t *domain_settings_read(const json_t *fields);

/* credentials.c: what an account keeps of its password. */
struct credentials {
    char hash[128]; /* argon2id */
    struct scram_keys scram;
};
/* The number of iterations of new keys is POSTBUS_SCRAM_ITERATIONS. */
void credentials_configure(void);
unsigned credentials_iterations(void);
/* Costly, so off the loop. 0 or -1. */
int credentials_create(const char *password, struct credentials *out);
/* Into an account, instead of those that it had. */
void credentials_put(json_t *account, const struct credentials *c);
/* The account's keys. False: it has none (it was made before there were any, or is NULL). */
bool credentials_scram(const json_t *account, struct scram_keys *out);
/* The salt of an address that has no keys. */
void credentials_no_salt(struct slice secret, const char *address, unsigned char salt[SCRAM_SALT_BYTES]);

/* argon2id of a password, for the store; off the loop. 0 or -1. */
int password_hash(const char *password, char out[128]);
/* Whether a stored hash was made with other parameters than password_hash has now. */
bool password_is_outdated(const char *stored);
/* The fault of a new password, in words; NULL: no fault. The minimum length is POSTBUS_PASSWORD_MIN
 * characters. */
const char *password_problem(const json_t *password);
void password_configure(void);
/* Makes an rsa-2048 or ed25519 DKIM key: {"algorithm","private_pem","public_b64","created"}; NULL
 * on failure. Costly (RSA). */
json_t *dkim_key_create(const char *algorithm);

/* keys.c: a pair of keys for the ask's domain, rsa-2048 and ed25519 (RFC 8463), created on the
 * pool. done is called with them (valid during the call), or the ask is refused. */
enum { KEYS_MADE = 2, KEYS_MONTH_BYTES = 16 };
typedef void keys_made_fn(struct ask *a, json_t *const keys[KEYS_MADE]);
void keys_make(struct ask *a, keys_made_fn *done);
/* "202611": the month in the selectors, after r or e. */
const char *keys_month(char out[KEYS_MONTH_BYTES]);

#endif
