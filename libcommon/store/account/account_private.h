/* Shared declarations of the files that implement account.h and login.h. */
#ifndef POSTBUS_STORE_ACCOUNT_PRIVATE_H
#define POSTBUS_STORE_ACCOUNT_PRIVATE_H

#include "libcommon/store/account.h"
#include "libcommon/store/pending.h"

enum { ACCOUNT_KEY_BYTES = 300 };
/* pending.note of account_on_all: the values are plain text, not JSON; an empty object is
 * STORE_NOT_FOUND. */
enum { ACCOUNT_RAW = 1, ACCOUNT_MUST_EXIST = 2 };

/* kind "": the domain's own key, which Functions are given. */
struct slice account_key(char out[ACCOUNT_KEY_BYTES], const char *domain, const char *kind);
void account_call(struct redis *r, redis_reply_fn *fn, struct pending *p, const char *function, const char *domain,
                  size_t argc, const struct slice argv[]);
/* Both for callbacks of the type account_json_fn: a list of strings as an array, a hash as an
 * object. */
void account_on_names(void *ctx, const redisReply *reply);
void account_on_all(void *ctx, const redisReply *reply);

#endif
