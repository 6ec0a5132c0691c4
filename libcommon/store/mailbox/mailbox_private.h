/* Shared declarations of mailbox*.c, here and in ../undo; private to them. */
#ifndef POSTBUS_STORE_MAILBOX_PRIVATE_H
#define POSTBUS_STORE_MAILBOX_PRIVATE_H

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/store/blob.h"
#include "libcommon/store/mailbox.h"

/* Bounds, so that no Function takes long: messages that one handles (CHUNK), records of one page of
 * a sync (PAGE), folders of one page of a list (FOLDERS). */
enum { MAILBOX_CHUNK = 100, MAILBOX_PAGE = 500, MAILBOX_FOLDERS = 50, NUMBER_BYTES = 24 };

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
/* Packed records, one after the other (mailbox.lua): takes the first from *packed. False: there is
 * none, or it is malformed. Fields that this version does not know are skipped. Pure. */
bool mailbox_take_record(struct slice *packed, struct mailbox_record *out);
/* Adds all of them to an array. */
struct mailbox_records {
    size_t count, room;
    struct mailbox_record *all; /* freed with free() */
};
void mailbox_records_add(struct mailbox_records *records, struct slice packed);
/* The fields of a folder as mailbox.lua's FOLDER_FIELDS give them. Views of the reply. */
bool mailbox_read_folder(uint32_t id, const redisReply *fields, struct mailbox_folder *out);
/* In a folder's list of keywords, the place of one that was removed. */
#define MAILBOX_KEYWORD_FREE "("
/* Removes keywords that no message of the folder has; free_places: bits without a keyword then. */
typedef void mailbox_collected_fn(void *ctx, int error, unsigned free_places);
void mailbox_keywords_collect(struct redis *r, const char *key, uint32_t folder_id, mailbox_collected_fn *done,
                              void *ctx);
/* Copies that were given up are taken back, then one begins under this name (empty: none);
 * STORE_CONFLICT: it is being made. */
void mailbox_copy_begin(struct redis *r, const char *key, struct slice op, mailbox_done_fn *done, void *ctx);
/* Takes one back. */
void mailbox_copy_undo(struct redis *r, const char *key, struct slice op, mailbox_done_fn *done, void *ctx);
/* Keywords as arguments of Functions: separated by spaces. */
struct buf mailbox_join_keywords(size_t count, const struct slice keywords[]);

/* A folder's name in normal form: INBOX in capitals, UTF-8 without controls, no empty level, at
 * most MAILBOX_NAME_MAX bytes. False: not allowed. */
bool mailbox_name_clean(struct slice name, char out[MAILBOX_NAME_MAX + 1], struct slice *clean);

/* For how long changes can be undone (POSTBUS_UNDO, s), as an argument of Functions. */
struct slice mailbox_undo_text(char out[NUMBER_BYTES]);

/* The column's letter in a listing and in its key. */
extern const char mailbox_column_letters[MAILBOX_COLUMNS];
/* The text of column i (bit i of enum mailbox_column) in *out. */
struct slice *mailbox_cached_text(struct mailbox_cached *out, size_t i);
/* Computes column i from the whole message, or only to max bytes and a few more. */
void mailbox_column_build(size_t i, struct slice message, size_t max, struct buf *out);

/* Releases the blobs in a Function's list and removes the notes; then calls done, in any case later
 * than this call. */
void mailbox_release_then(struct redis *r, const char *key, const redisReply *list, mailbox_done_fn *done, void *ctx);
/* Releases the blobs in a Function's list ("<id>/<name>"), then removes the notes from the mailbox.
 * There is no callback. */
void mailbox_release(struct redis *r, const char *key, const redisReply *list);
/* The reference of a name that {u}:b and {u}:x hold. */
const char *mailbox_name_ref(char out[MAILBOX_REF_MAX], struct slice user, struct slice name);
/* Calls done from the loop, with error and empty values: for arguments that are refused without
 * calling a Function. */
void mailbox_fail_done(struct redis *r, mailbox_done_fn *done, void *ctx, int error);

#endif
