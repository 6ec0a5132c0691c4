/* Shared declarations of mailbox*.c; private to them. */
#ifndef POSTBUS_STORE_MAILBOX_PRIVATE_H
#define POSTBUS_STORE_MAILBOX_PRIVATE_H

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/store/blob.h"
#include "libcommon/store/mailbox.h"

/* Bounds, so that no Function takes long: messages that one handles (CHUNK), records of one page of
 * a sync (PAGE), folders of one page of a list (FOLDERS). */
enum { MAILBOX_RECORD_BYTES = 58, MAILBOX_CHUNK = 100, MAILBOX_PAGE = 500, MAILBOX_FOLDERS = 50, NUMBER_BYTES = 24 };

/* "{u:<user>}" and the user in it; freed with free(). */
char *mailbox_key(struct slice user);
struct slice mailbox_user_of(const char *key);
struct slice mailbox_number(char out[NUMBER_BYTES], int64_t value);
void mailbox_fcall(struct redis *r, redis_reply_fn *done, void *ctx, const char *function, const char *key, size_t argc,
                   const struct slice argv[]);

/* The reply's element i; NULL when there is none. */
const redisReply *mailbox_element(const redisReply *reply, size_t i);
/* A Function's array reply of n elements: 0, or the error (STORE_INVALID, logged, for another
 * shape). */
int mailbox_reply_array(const redisReply *reply, size_t n);

/* Numbers packed as little-endian uint32, as the Functions take and give uids. */
struct buf mailbox_pack_uids(size_t count, const uint32_t uids[]);
size_t mailbox_unpack_uids(struct slice packed, uint32_t *out);
uint32_t mailbox_u32(const char *p);
uint64_t mailbox_u64(const char *p);
void mailbox_read_record(const char *p, struct mailbox_record *out);
/* The fields of a folder as mailbox.lua's FOLDER_FIELDS give them. Views of the reply. */
bool mailbox_read_folder(uint32_t id, const redisReply *fields, struct mailbox_folder *out);
/* Keywords as arguments of Functions: separated by spaces. */
struct buf mailbox_join_keywords(size_t count, const struct slice keywords[]);

/* A folder's name in normal form: INBOX in capitals, UTF-8 without controls, no empty level, at
 * most MAILBOX_NAME_MAX bytes. False: not allowed. */
bool mailbox_name_clean(struct slice name, char out[MAILBOX_NAME_MAX + 1], struct slice *clean);

/* The cached value of a message: the prefix with its length before it, and the listing. */
void mailbox_cache_build(struct slice prefix, struct slice message, struct buf *out);
/* Computes the texts that were too large to keep (p NULL) from the whole message; they are in
 * arena. */
void mailbox_cache_complete(struct arena *arena, struct slice message, struct mailbox_cached *out);
/* Views of packed. */
bool mailbox_cache_read(struct slice packed, struct slice *prefix, struct mailbox_cached *out);

/* Releases the blobs in a Function's list ("<id>/<name>"), then removes the notes from the mailbox.
 * There is no callback. */
void mailbox_release(struct redis *r, const char *key, const redisReply *list);
/* The reference of a name that {u}:b and {u}:x hold. */
const char *mailbox_name_ref(char out[MAILBOX_REF_MAX], struct slice user, struct slice name);
/* Calls done from the loop, with error and empty values: for arguments that are refused without
 * calling a Function. */
void mailbox_fail_done(struct redis *r, mailbox_done_fn *done, void *ctx, int error);

#endif
