/* The queue: one entry a message in flight, {q:<shard>}:e:<id>, and a due-time index a shard. The only door to queue
 * keys. An entry is taken under a lease that expires, so that a killed worker's work is found again. */
#ifndef POSTBUS_STORE_QUEUE_H
#define POSTBUS_STORE_QUEUE_H

#include <jansson.h>

#include "libcommon/store/redis.h"

enum { QUEUE_SHARDS = 16, QUEUE_RCPTS_MAX = 1000 };

/* The shard of a message id: the sum of its random half's characters, modulo QUEUE_SHARDS. */
int queue_shard_of(struct slice id);

typedef void queue_done_fn(void *ctx, int error);

/* Puts an entry into the queue, due now. envelope is the JSON object
 *   {"from":"alice@alpha.test"|"", "origin":"submission"|"mx"|"bounce"|"report", "size":N, "message_id":"…",
 * "received":<ms>, "smtputf8":false, "body":"7bit"|"8bitmime", "ret":null|"full"|"hdrs", "envid":null|"…",
 * "require_tls":false,
 *    "rcpts":[{"address":"…","user":"<id>"|null,"orcpt":null|"…","notify":null|"never"|"success,failure,delay","state":"due","attempts":0,
 *              "from":"SRS0=…@alpha.test" (only where its copy goes on with another reverse-path than the message's, to
 * which reports go all the same)}]} The blob is written before, on the same connection (blob_write with ref "q"). The
 * second commit of one id changes nothing. */
void queue_commit(struct redis *r, struct slice id, const json_t *envelope, queue_done_fn *done, void *ctx);

/* A leased entry: id, the envelope and what the recipients' states are now (JSON, as committed, with
 * "state":"due"|"deferred"|"sent"|"delivered"|"bounced", "attempts", "last_reply", "next"). Valid during the call; take
 * references with json_incref. */
typedef void queue_lease_fn(void *ctx, int error, size_t count, const struct slice ids[], json_t *const envelopes[]);

/* Takes up to max entries of a shard whose time has come, for lease_ms. */
void queue_lease(struct redis *r, int shard, size_t max, int64_t lease_ms, queue_lease_fn *done, void *ctx);
/* Makes a lease last lease_ms from now. */
void queue_extend(struct redis *r, struct slice id, int64_t lease_ms);
/* Records new states of some recipients: changes is {"<index>":{"state":…,"attempts":…,"last_reply":…,"next":<ms>}}.
 * When no recipient is left "due" or "deferred" the entry is gone (the caller then releases the blob's "q"), else it
 * becomes due at the earliest "next". done gets 0, or 1 when the entry is gone.
 */
/* others_in_work: other recipients of the entry are being tried now, so the lease stays as it is. */
void queue_update(struct redis *r, struct slice id, const json_t *changes, bool others_in_work, queue_done_fn *done,
                  void *ctx);
/* Makes an entry due now (an admin's retry, or an event). */
void queue_retry(struct redis *r, struct slice id, queue_done_fn *done, void *ctx);
void queue_delete(struct redis *r, struct slice id, queue_done_fn *done, void *ctx);
/* Entries of a shard in due order, for people: up to max from the offset. */
void queue_list(struct redis *r, int shard, size_t offset, size_t max, queue_lease_fn *done, void *ctx);
/* How many entries a shard has, and the earliest due time (ms; 0 when empty). */
typedef void queue_stat_fn(void *ctx, int error, long long entries, long long earliest_ms);
void queue_stat(struct redis *r, int shard, queue_stat_fn *done, void *ctx);

#endif
