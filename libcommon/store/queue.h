/* The queue: one entry for each message, {q:<shard>}:e:<id>, with indexes by due time, by
 * destination domain, of held and of damaged entries, and the texts of small messages for other
 * sites, {q:<shard>}:b:<id>. The only module that accesses queue keys.
 *
 * An entry is worked on under a lease: a token of the worker and a time at which the lease expires.
 * Every later write of that work presents the token; STORE_LOST means that another worker has the
 * entry, and the work must stop before its next command to a remote server (docs/laws.md, law
 * 2). */
#ifndef POSTBUS_STORE_QUEUE_H
#define POSTBUS_STORE_QUEUE_H

#include "libcommon/codec/envelope.h"
#include "libcommon/store/redis.h"

enum { QUEUE_SHARDS = 16, QUEUE_LEASE_MAX = 256, QUEUE_TEXT_MAX = 64 * 1024 };

/* The shard of a message id: the sum of its random half's characters, modulo QUEUE_SHARDS. */
int queue_shard_of(struct slice id);

/* Makes message ids. Those that one maker makes within QUEUE_SHARD_MS fall into one shard, so that
 * entries which are committed together are leased together; then it goes on to another shard. Ids
 * are ULIDs (base/ulid.h) with 75 random bits. A zeroed maker begins. */
enum { QUEUE_SHARD_MS = 50 };
struct queue_ids {
    int shard;
    int64_t until_us;
};
void queue_id_create(struct queue_ids *ids, char out[ULID_BYTES]);

typedef void queue_done_fn(void *ctx, int error);

/* Puts an entry into the queue, due now or, with a reason in e->hold, held until queue_hold
 * releases it. The body must have been stored with the reference
 * BLOB_REF_QUEUE, and that write must have been answered: use outbox_commit(). The second commit of
 * one id changes nothing, also when the first one's entry was completed or deleted within the last
 * day: then done gets QUEUE_GONE (below), and the caller releases the reference that it added to
 * the body. At its maxmemory Redis refuses further entries: STORE_FULL. */
void queue_commit(struct redis *r, const struct envelope *e, queue_done_fn *done, void *ctx);
/* Puts an entry and the message's text, up to QUEUE_TEXT_MAX bytes, into the queue in one step: one
 * wait for the disk instead of two, and nothing to release afterwards, because the text is removed
 * with the entry. For messages all of whose recipients are at other sites, and that are not held: a mailbox needs
 * a body (blob.h). The entry's envelope has text_in_queue. Otherwise as queue_commit. */
void queue_commit_text(struct redis *r, const struct envelope *e, struct slice text, queue_done_fn *done, void *ctx);
/* Reads a message's text, from the entry (in_queue: the envelope's text_in_queue) or from its body.
 * error: 0 or enum store_error; STORE_NOT_FOUND when it no longer exists. text: valid during the
 * call. */
typedef void queue_text_fn(void *ctx, int error, struct slice text);
void queue_read_text(struct redis *r, struct slice id, bool in_queue, queue_text_fn *done, void *ctx);

/* The compression of these texts. queue_pack_text appends one frame; queue_unpack_text appends exactly
 * `size` bytes of a frame (envelope.packed, with the envelope's size): 0, or STORE_INVALID when it is
 * damaged. Pure. */
void queue_pack_text(struct slice text, struct buf *out);
int queue_unpack_text(struct slice packed, size_t size, struct buf *out);

/* The same in two steps, for a caller that has the envelope now and commits later, or more than
 * once. */
struct queue_parcel;
struct queue_parcel *queue_parcel_create(const struct envelope *e);
void queue_parcel_commit(struct redis *r, const struct queue_parcel *p, queue_done_fn *done, void *ctx);
/* For a message whose body was stored before, which some mailboxes may have, and which is not held:
 * works also when Redis is at its maxmemory. */
void queue_parcel_commit_stored(struct redis *r, const struct queue_parcel *p, queue_done_fn *done, void *ctx);
void queue_parcel_destroy(struct queue_parcel *p); /* NULL is allowed */

/* entries[i]: owned by the receiver, which destroys each. An entry that cannot be read has only its
 * id and no recipients (rcpt_count 0). */
typedef void queue_entries_fn(void *ctx, int error, size_t count, struct envelope *const entries[]);
/* Leases up to max due entries of a shard that are not held, for lease_ms, those with a higher
 * priority first. token: up to 63 bytes, unique to this worker. Fewer than max does not mean that
 * no more are due. text_bytes: the answer may carry as many bytes of compressed texts that are kept
 * with the entries (envelope.packed), to save reading them later. A damaged entry (rcpt_count 0) has been moved to the
 * dead letters already: the receiver publishes mail.dead and destroys it. */
void queue_lease(struct redis *r, int shard, size_t max, size_t text_bytes, int64_t lease_ms, const char *token,
                 queue_entries_fn *done, void *ctx);
/* Makes the lease end lease_ms from now. STORE_LOST. */
void queue_extend(struct redis *r, struct slice id, const char *token, int64_t lease_ms, queue_done_fn *done,
                  void *ctx);

/* Records the outcomes of recipients from r->rcpts[index]: the state, and with it the report that
 * is owed. Any number of recipients is recorded in steps of bounded size. Final states do not
 * change: a second call has no effect. Works also when Redis is at its maxmemory. done gets 0;
 * QUEUE_GONE when nothing is left of the entry (every recipient final and every report sent): the
 * caller then releases the body's BLOB_REF_QUEUE, unless the text was in the queue; STORE_LOST; or another error, after
 * which the same call may be made again. */
enum { QUEUE_GONE = 1 };
void queue_record(struct redis *r, const struct envelope *e, const char *token, size_t count, const size_t indexes[],
                  queue_done_fn *done, void *ctx);
/* The reports owed on these recipients have been committed: clears `owed`. If e still has the kind
 * of that report (owed is not REPORT_NONE), a report of another kind that has become due since
 * stays owed. done as for queue_record. */
void queue_reported(struct redis *r, const struct envelope *e, const char *token, size_t count, const size_t indexes[],
                    queue_done_fn *done, void *ctx);
/* Releases the lease: the entry is due at its earliest recipient's time, or at once if a report is
 * owed. STORE_LOST. */
void queue_release(struct redis *r, struct slice id, const char *token, queue_done_fn *done, void *ctx);

/* For administrators. Each works on a leased entry too: a retry happens as soon as the lease is
 * released; a deletion revokes the lease (its worker gets STORE_LOST) and returns the envelope, so
 * that the body can be released and the event published. A retry moves an entry out of the dead
 * letters; a held entry stays held, and is due when it is released. priority: -9 … 9.
 * STORE_NOT_FOUND. */
void queue_retry(struct redis *r, struct slice id, queue_done_fn *done, void *ctx);
void queue_hold(struct redis *r, struct slice id, bool hold, queue_done_fn *done, void *ctx);
void queue_set_priority(struct redis *r, struct slice id, int priority, queue_done_fn *done, void *ctx);
void queue_delete(struct redis *r, struct slice id, queue_entries_fn *done, void *ctx);
/* Makes every entry of a shard that has an open recipient at this domain due now, and its
 * recipients there. Held ones stay held. done gets the number of entries. */
void queue_retry_domain(struct redis *r, int shard, struct slice domain, queue_done_fn *done, void *ctx);

/* One entry; STORE_NOT_FOUND. */
void queue_get(struct redis *r, struct slice id, queue_entries_fn *done, void *ctx);
/* The state of an entry beside its envelope, for administrators. */
struct queue_view {
    struct envelope *envelope; /* valid during the call */
    int64_t due_ms;            /* leased: when the lease ends; 0: held or dead */
    bool leased, held;
};
typedef void queue_list_fn(void *ctx, int error, size_t count, const struct queue_view views[]);
enum queue_index { QUEUE_BY_DUE, QUEUE_HELD, QUEUE_DEAD };
/* Entries of a shard, up to max from the offset: all except the dead in due order (held ones last),
 * or only the held, or the dead (without recipients if the envelope cannot be read). An answer has
 * fewer than max if entries are large: count 0 means that there are no more. domain not empty: only
 * those with an open recipient there, in the order of their ids; of held ones the first 1,000 are
 * checked, dead ones have no open recipients. */
void queue_list(struct redis *r, int shard, enum queue_index which, struct slice domain, size_t offset, size_t max,
                queue_list_fn *done, void *ctx);
/* The number of entries of a shard, including held and dead ones, and the earliest due time (ms; 0
 * when empty). */
typedef void queue_stat_fn(void *ctx, int error, long long entries, long long held, long long dead,
                           long long earliest_ms);
void queue_stat(struct redis *r, int shard, queue_stat_fn *done, void *ctx);
/* The destination domains of a shard, with how many entries have open recipients there; count
 * pairs, most first. */
typedef void queue_domains_fn(void *ctx, int error, size_t count, const struct slice domains[],
                              const long long entries[]);
void queue_domains(struct redis *r, int shard, size_t max, queue_domains_fn *done, void *ctx);
/* Which of these ids have an entry (found[i]): for the janitor. At most 512. */
typedef void queue_has_fn(void *ctx, int error, size_t count, const bool found[]);
void queue_has(struct redis *r, int shard, size_t count, const struct slice ids[], queue_has_fn *done, void *ctx);

#endif
