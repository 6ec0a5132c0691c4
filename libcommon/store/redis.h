/* One asynchronous Redis connection of one worker. Commands are pipelined without a limit; each
 * answer is passed to its callback on the worker's loop. No code may rely on two commands sharing a
 * connection, or on their order: a caller that needs the effect of the first waits for its answer.
 *
 * The waiting time is bounded: without an answer after 10 s, or when the connection is lost, the
 * callback gets a NULL reply (STORE_UNAVAILABLE). Such a command may or may not have happened, or
 * may still happen, so every write must be repeatable. A slow answer does not affect others: the
 * connection is kept until there has been no answer at all for 30 s; meanwhile further commands are
 * refused at once. A lost connection is made again in the background, with pauses of 100 ms to 2 s;
 * names are resolved without blocking the loop. */
#ifndef POSTBUS_STORE_REDIS_H
#define POSTBUS_STORE_REDIS_H

#include <event2/event.h>
#include <hiredis/hiredis.h>

#include "libcommon/base/slice.h"

struct redis;

/* address: "host:port"; user and password: ACL login (NULL: none). Connects in the background. */
struct redis *redis_create(struct event_base *base, const char *address, const char *user, const char *password);
/* Every waiting callback gets NULL first. */
void redis_destroy(struct redis *r);
/* Whether the connection accepts commands. */
bool redis_is_ready(const struct redis *r);

/* reply: NULL when unavailable; otherwise of any type, also REDIS_REPLY_ERROR; valid during the
 * call only. */
typedef void redis_reply_fn(void *ctx, const redisReply *reply);

/* Sends one command. done may be NULL; it is never called before redis_command returns. */
void redis_command(struct redis *r, redis_reply_fn *done, void *ctx, size_t argc, const struct slice argv[]);
/* FCALL function 1 key args… */
void redis_fcall(struct redis *r, redis_reply_fn *done, void *ctx, const char *function, struct slice key, size_t argc,
                 const struct slice argv[]);
/* FCALL_RO, for Functions without writes: a user that may only read a key may call it. */
void redis_fcall_ro(struct redis *r, redis_reply_fn *done, void *ctx, const char *function, struct slice key,
                    size_t argc, const struct slice argv[]);

/* The result of a reply: 0, or a negative enum store_error. "-OOM …" and a full disk are
 * STORE_FULL; "-NOTFOUND …" from our Functions STORE_NOT_FOUND, and so on: our Functions answer
 * errors as "<WORD> text" with the words below. */
enum store_error {
    STORE_OK = 0,
    STORE_UNAVAILABLE = -1, /* no Redis, or it is loading, or our Functions are not loaded yet: try
                               later */
    STORE_FULL = -2,        /* FULL, OOM, MISCONF: no room to write */
    STORE_NOT_FOUND = -3,   /* NOTFOUND */
    STORE_EXISTS = -4,      /* EXISTS */
    STORE_OVER_QUOTA = -5,  /* OVERQUOTA */
    STORE_CONFLICT = -6,    /* CONFLICT: changed by another since it was read */
    STORE_INVALID = -7,     /* INVALID: the arguments are not allowed */
    STORE_LOST = -8,        /* LOST: the lease is another's */
    STORE_LIMIT = -9,       /* LIMIT: more than the mailbox may have of something */
};
int redis_reply_error(const redisReply *reply);
/* For logs: "unavailable", "full", … */
const char *store_error_text(int error);
/* A string reply's bytes (empty for others), and an integer reply's or numeric string's value (0
 * for others). */
struct slice redis_reply_slice(const redisReply *reply);
long long redis_reply_integer(const redisReply *reply);

#endif
