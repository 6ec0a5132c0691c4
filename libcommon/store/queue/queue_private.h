/* Shared declarations of the files that implement queue.h. */
#ifndef POSTBUS_STORE_QUEUE_PRIVATE_H
#define POSTBUS_STORE_QUEUE_PRIVATE_H

#include "libcommon/store/pending.h"
#include "libcommon/store/queue.h"

/* FCALL function on a shard's key. */
void queue_call(struct redis *r, redis_reply_fn *fn, void *ctx, const char *function, int shard, size_t argc,
                const struct slice argv[]);
/* FCALL_RO, for those that only read. */
void queue_ask(struct redis *r, redis_reply_fn *fn, void *ctx, const char *function, int shard, size_t argc,
               const struct slice argv[]);
/* The domain under which an address is indexed: in lower case; "" becomes "-". In the arena. */
struct slice queue_domain(struct arena *a, struct slice address);
/* One element of a Function's answer as an envelope. With damaged not NULL it never returns NULL:
 * an entry that cannot be read has no recipients, and *damaged is true. */
struct envelope *queue_read(const redisReply *entry, bool *damaged);
/* The number of elements in the answer of a lease or a list: up to QUEUE_LEASE_MAX. */
size_t queue_elements(const redisReply *reply, int error);

#endif
