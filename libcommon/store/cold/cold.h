/* The cold tier: where bodies are kept that have left Redis. Private to libcommon/store and to the
 * mover of the mailbox service; all others read bodies through blob.h.
 *
 * Settings: POSTBUS_COLD (off, directory) says where the mover puts bodies; POSTBUS_COLD_DIRECTORY
 * is the directory, for reading too. Disk access runs on the process's pool of threads, never on a
 * loop. */
#ifndef POSTBUS_STORE_COLD_H
#define POSTBUS_STORE_COLD_H

#include "libcommon/store/cold/segment.h"
#include "libcommon/store/redis.h"

/* The keys of the cold tier. LARGE: zset of ids of large bodies by the time when they were written
 * (ms), which are moved soonest; SEGMENTS: zset of "<tier> <segment>" by the time when it was
 * written; each is entered before it is written. */
#define COLD_KEY_LARGE "{cold}:large"
#define COLD_KEY_SEGMENTS "{cold}:segments"
#define COLD_KEY_LEASE "{cold}:lease"
enum { COLD_LARGE_BYTES = 256 * 1024, COLD_THREADS = 4 };

struct cold;
/* The connection's access to the cold tier; it lives as long as the connection. */
struct cold *cold_of(struct redis *r);
/* The tier to which bodies are moved; 0: none. */
enum cold_tier cold_target(const struct cold *c);

/* done is called on the loop, never before the call returns. bytes: valid during the call, and fewer
 * than `length` where the segment ends. STORE_NOT_FOUND: there is no such segment. */
typedef void cold_read_fn(void *ctx, int error, struct slice bytes);
void cold_read(struct cold *c, enum cold_tier tier, const char *segment, uint64_t offset, uint64_t length,
               cold_read_fn *done, void *ctx);
/* Writes a whole segment; done(0) when it is on disk, its directory entry included. The bytes must
 * stay until then. STORE_FULL: no room. */
typedef void cold_done_fn(void *ctx, int error);
void cold_write(struct cold *c, enum cold_tier tier, const char *segment, struct slice bytes, cold_done_fn *done,
                void *ctx);
/* Removes it; 0 also when it is not there. */
void cold_remove(struct cold *c, enum cold_tier tier, const char *segment, cold_done_fn *done, void *ctx);
/* Runs run(job) on one of the threads, then done(job) on the loop. */
void cold_run(struct cold *c, void (*run)(void *job), void (*done)(void *job), void *job);

#endif
