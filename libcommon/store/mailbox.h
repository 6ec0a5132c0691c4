/* The mailboxes: folders, messages, flags, modseqs. The only module that accesses {u:<user>} keys;
 * every change is one atomic Redis Function (mailbox.lua), so that all replicas of all services see
 * one order. Used by mailbox (delivery), imapd and pop3d.
 *
 * A service that changes a mailbox publishes `mailbox.changed` afterwards; nothing depends on its
 * arrival.
 *
 * Keys of a user, all in one cluster slot:
 *   {u:<id>}:i              hash: modseq (last used), bytes, messages, quota_bytes, next_folder; undo,
 *                           undo_from, kept_messages, kept_bytes, journal_bytes (of the journal)
 *   {u:<id>}:f              hash: folder name → folder id
 *   {u:<id>}:f:<fid>        hash: name, uidvalidity, uidnext, modseq, messages, unseen, bytes,
 *                           subscribed, use, keywords, floor, recent, keygen, made (s)
 *   {u:<id>}:f:<fid>:m      hash: uid → packed record (mailbox.lua says how)
 *   {u:<id>}:f:<fid>:q      zset: uid by modseq
 *   {u:<id>}:f:<fid>:v      zset: vanished uid by modseq
 *   {u:<id>}:f:<fid>:t      set: uids with \Deleted
 *   {u:<id>}:f:<fid>:p      hash: uid → prefix of the message, if it has one (Return-Path …)
 *   {u:<id>}:f:<fid>:e, :s, :h, :k, :w
 *                           hashes: uid → what is cached of the message: envelope, structure,
 *                           header fields, keys of searching and of threads, preview. An empty text is
 *                           computed from the message when it is needed
 *   {u:<id>}:f:<fid>:c      hash: the same of records of version 1, all in one; moved to the
 *                           columns when it is read
 *   {u:<id>}:b              hash: blob id → how many messages of this user use it, and the names
 *                           under which it is held
 *   {u:<id>}:x              set: "<blob id>/<name>" to release; emptied right after each expunge,
 *                           or by the janitor
 *   {u:<id>}:g              set: deleted folders whose records still hold blobs
 *   {u:<id>}:d              hash: "<message id>/<rcpt>" → when and where it was delivered: what
 *                           makes a delivery happen once. Kept for 10 days
 *   {u:<id>}:o              list: the fields of d in the order of their time
 *   {u:<id>}:r, {u:<id>}:y  hashes: message id (a hash of it) → thread, of the present generation
 *                           and of the one before; at most 50,000 in each
 *   {u:<id>}:s              set: subscribed names whose folder was deleted (RFC 9051 §6.3.7)
 *   {u:<id>}:l              stream: the journal: what changed messages and folders were before
 *                           (mailbox_undo.h); its bodies count in b
 *   {u:<id>}:k              set: deleted folders that the journal keeps: their m, p and c stay
 *   {u:<id>}:j              hash: a COPY of many messages that is being made → what it made so far
 *   {u:<id>}:a              hash: annotations of the folders (mailbox_metadata.h)
 *   {u:<id>}:gone           string: the account was deleted; nothing of it is made again. Expires
 *                           after 30 days
 *
 * The name under which a user holds a blob is "<rcpt>/<attempt>", "import/<attempt>" for an import,
 * or "/" for an APPEND; the reference in the blob is "u:<user>/<name>" (blob.h). */
#ifndef POSTBUS_STORE_MAILBOX_H
#define POSTBUS_STORE_MAILBOX_H

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/store/redis.h"

/* System flags (RFC 9051 §2.3.2) are bits 0–4; a folder's keywords are bits 8–63, in the order of
 * struct mailbox_folder.keywords. \Recent is none of them (mailbox_recent). */
enum mailbox_flag {
    MAILBOX_SEEN = 1,
    MAILBOX_ANSWERED = 2,
    MAILBOX_FLAGGED = 4,
    MAILBOX_DELETED = 8,
    MAILBOX_DRAFT = 16,
    MAILBOX_KEYWORD_SHIFT = 8,
    MAILBOX_KEYWORDS_MAX = 56,
    MAILBOX_FOLDERS_MAX = 1000,
    MAILBOX_NAME_MAX = 255 * 4,
};

struct mailbox_folder {
    uint32_t id;
    struct slice name; /* UTF-8, levels separated by "/"; "INBOX" always exists */
    uint32_t uidvalidity, uidnext;
    uint64_t highestmodseq;
    uint32_t messages, unseen, deleted; /* deleted: with \Deleted; only of a list of folders, and of a
                                           folder that was found */
    uint64_t bytes;
    bool subscribed;
    struct slice special_use;    /* "", or "\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive" (RFC
                                    6154) */
    uint32_t keyword_generation; /* changes when a bit gets another keyword */
    size_t keyword_count;
    struct slice keywords[MAILBOX_KEYWORDS_MAX]; /* empty: a bit that no message has, to be used again */
};

struct mailbox_record {
    uint32_t uid;
    uint32_t size; /* bytes of the message as fetched, prefix included (RFC822.SIZE) */
    uint64_t modseq;
    uint64_t flags;
    int64_t date;      /* INTERNALDATE, seconds since 1970 */
    uint64_t thread;   /* 0: not known; see mailbox_thread_id */
    uint32_t savedate; /* when it came into this folder (RFC 8514), seconds since 1970; 0: not
                          known (of a record of version 1, and of its copies) */
    uint32_t variant;  /* distinguishes messages that share a body and differ in their prefix */
    char blob[27];     /* the message id */
};

/* EMAILID and THREADID of a message (RFC 8474 §5.1, §5.2), written to out: letters, digits and "-".
 * Copies have the EMAILID of their source. An empty THREADID is not known: NIL. */
enum { MAILBOX_OBJECT_ID_MAX = 48 };
struct slice mailbox_email_id(const struct mailbox_record *record, char out[MAILBOX_OBJECT_ID_MAX]);
struct slice mailbox_thread_id(const struct mailbox_record *record, char out[MAILBOX_OBJECT_ID_MAX]);
/* MAILBOXID of a folder (RFC 8474 §4): stays when the folder is renamed, and is never used again,
 * neither in this account nor, for all practical purposes, in another one. Pure. */
struct slice mailbox_folder_object_id(struct slice owner, uint32_t folder_id, char out[MAILBOX_OBJECT_ID_MAX]);

/* Everything a callback is given is valid during the call only. error: 0 or enum store_error. */

/* All folders, in name order with INBOX first. The first use by a user creates INBOX, Drafts, Sent,
 * Junk, Trash and Archive. */
typedef void mailbox_folders_fn(void *ctx, int error, size_t count, const struct mailbox_folder folders[]);
void mailbox_folders(struct redis *r, struct slice user, mailbox_folders_fn *done, void *ctx);

/* Only the folder of this name; count 0: there is none. One read, for any number of folders. */
void mailbox_folder_find(struct redis *r, struct slice user, struct slice name, mailbox_folders_fn *done, void *ctx);

typedef void mailbox_done_fn(void *ctx, int error);
typedef void mailbox_folder_fn(void *ctx, int error, uint32_t folder_id, uint32_t uidvalidity);
/* STORE_EXISTS, STORE_INVALID (name), STORE_FULL (too many). Parents are created too. special_use
 * may be empty. */
void mailbox_folder_create(struct redis *r, struct slice user, struct slice name, struct slice special_use,
                           mailbox_folder_fn *done, void *ctx);
/* STORE_NOT_FOUND; INBOX is STORE_INVALID; one with children is STORE_CONFLICT. Its messages are
 * deleted. */
void mailbox_folder_delete(struct redis *r, struct slice user, struct slice name, mailbox_done_fn *done, void *ctx);
/* With its children (RFC 9051 §6.3.6). Renaming INBOX moves its messages to the new folder. */
void mailbox_folder_rename(struct redis *r, struct slice user, struct slice from, struct slice to,
                           mailbox_done_fn *done, void *ctx);
/* A subscription stays when its folder is deleted, and applies again when the folder is created
 * again. The subscription that a folder has from its creation is removed with it. STORE_NOT_FOUND:
 * subscribing to a name that does not exist. */
void mailbox_folder_subscribe(struct redis *r, struct slice user, struct slice name, bool subscribed,
                              mailbox_done_fn *done, void *ctx);
/* The subscribed names that do not exist, in no particular order. */
typedef void mailbox_names_fn(void *ctx, int error, size_t count, const struct slice names[]);
void mailbox_subscribed_gone(struct redis *r, struct slice user, mailbox_names_fn *done, void *ctx);

/* The present state of a folder and its changes after `since` (0: everything): changed records in
 * uid order, and vanished uids. since must be a modseq that the caller has seen; otherwise all
 * records are returned, and `vanished` is empty with full = true. */
typedef void mailbox_sync_fn(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                             const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]);
void mailbox_sync(struct redis *r, struct slice user, uint32_t folder_id, uint64_t since, mailbox_sync_fn *done,
                  void *ctx);

/* \Recent (RFC 3501 §2.3.2): messages with uids from *before on were told to no session yet. With
 * below > 0, those before it are told to this session now, and are not recent for later ones; 0:
 * the session may not change the folder. before is valid if error is 0. */
typedef void mailbox_recent_fn(void *ctx, int error, uint32_t before);
void mailbox_recent(struct redis *r, struct slice user, uint32_t folder_id, uint32_t below, mailbox_recent_fn *done,
                    void *ctx);

/* Texts that were computed at delivery, so that listings need not open bodies. Each is kept by
 * itself, and a reader names those that it needs; only texts over MAILBOX_CACHED_MAX are computed
 * from the message each time. */
enum mailbox_column {
    MAILBOX_ENVELOPE = 1,
    MAILBOX_STRUCTURE = 2,
    MAILBOX_HEADER = 4,
    MAILBOX_KEYS = 8,
    MAILBOX_PREVIEW = 16,
};
enum { MAILBOX_CACHED_MAX = 64 * 1024 };
struct mailbox_cached { /* those that were asked for */
    uint32_t uid;
    struct slice envelope;      /* IMAP ENVELOPE, in its parentheses */
    struct slice bodystructure; /* IMAP BODYSTRUCTURE; structure_basic() makes BODY of it */
    struct slice header;        /* the common header fields of the message, unchanged (see
                                   mailbox_header_is_cached), each with CRLF */
    struct slice keys;          /* for mailbox_keys_read */
    struct slice preview;       /* UTF-8 (RFC 8970) */
};
/* Whether `header` holds every field of this name that the message has. */
bool mailbox_header_is_cached(struct slice field_name);
typedef void mailbox_cached_fn(void *ctx, int error, size_t count, const struct mailbox_cached cached[]);
/* At most 1,000 uids in a call; those that no longer exist are left out. columns: enum
 * mailbox_column, combined. */
void mailbox_cached(struct redis *r, struct slice user, uint32_t folder_id, unsigned columns, size_t count,
                    const uint32_t uids[], mailbox_cached_fn *done, void *ctx);

/* What SEARCH compares (RFC 9051 §6.4.4), and the message ids that make threads. All texts are
 * folded (text_fold); p NULL: too long to be kept, to be read in the header. */
enum { MAILBOX_IDS_MAX = 32, MAILBOX_NO_DAY = INT32_MIN };
#define MAILBOX_NO_DATE INT64_MIN
struct mailbox_keys {
    size_t id_count; /* of message ids: first the message's own (0: it has none), then those it
                        refers to, the nearest last */
    const char *ids;
    int64_t sent;                            /* the Date field, seconds since 1970, UTC; MAILBOX_NO_DATE */
    int32_t sent_day;                        /* days since 1970, as written in the sender's zone; MAILBOX_NO_DAY */
    struct slice subject, from, to, cc, bcc; /* decoded; where that differs, then NUL and as sent;
                                                fields of one name separated by NUL */
};
/* Adds the packed keys of a message with this header block. Pure. */
void mailbox_keys_build(struct slice header, struct buf *out);
/* Views of packed. False: malformed. Pure. */
bool mailbox_keys_read(struct slice packed, struct mailbox_keys *out);
/* A hash of message id i, never 0 except for a message without an id; ids are compared by it. */
uint64_t mailbox_keys_id(const struct mailbox_keys *keys, size_t i);
/* The hash of an id, without its angle brackets. */
uint64_t mailbox_message_id_hash(struct slice id);

/* The message's bytes. STORE_NOT_FOUND when it was expunged in the meantime. */
typedef void mailbox_read_fn(void *ctx, int error, struct slice message);
void mailbox_read(struct redis *r, struct slice user, uint32_t folder_id, uint32_t uid, mailbox_read_fn *done,
                  void *ctx);

/* The same for a record that the caller has from mailbox_sync, with fewer steps. */
void mailbox_read_record(struct redis *r, struct slice user, uint32_t folder_id, const struct mailbox_record *record,
                         mailbox_read_fn *done, void *ctx);

/* Up to `length` bytes of it from `offset`; size: the whole message's. Reads only the blocks of the
 * body that the range touches (blob_read_range). */
typedef void mailbox_range_fn(void *ctx, int error, uint64_t size, struct slice bytes);
void mailbox_read_range(struct redis *r, struct slice user, uint32_t folder_id, uint32_t uid, uint64_t offset,
                        uint64_t length, mailbox_range_fn *done, void *ctx);

/* Adds to out what is cached of a message: each column with its letter and its length before it;
 * texts over MAILBOX_CACHED_MAX are left empty. Pure: any service that has the message can compute
 * it, as smtpd does before it requests a delivery. At most MAILBOX_LISTING_MAX bytes. */
enum { MAILBOX_COLUMNS = 5, MAILBOX_LISTING_MAX = MAILBOX_COLUMNS * (MAILBOX_CACHED_MAX + 5) };
void mailbox_listing_build(struct slice message, struct buf *out);
/* Whether these bytes have the form of mailbox_listing_build. */
bool mailbox_listing_is_valid(struct slice listing);

/* The reference under which the body of a delivery is held, "u:<user>/<rcpt>/<attempt>". attempt:
 * letters and digits, different for each attempt, so that the result of one attempt never removes
 * the body of another. */
enum { MAILBOX_REF_MAX = 512, MAILBOX_ADDRESS_MAX = 400, MAILBOX_ATTEMPT_MAX = 40 };
const char *mailbox_blob_ref(char out[MAILBOX_REF_MAX], struct slice user, struct slice rcpt, struct slice attempt);
/* Whether an address and an attempt may be part of such a name: no control characters, and the
 * lengths above. */
bool mailbox_rcpt_is_valid(struct slice rcpt);
bool mailbox_attempt_is_valid(struct slice attempt);

/* A delivery: the blob `id` gets into folder (a name; created when missing; empty: INBOX; "Junk":
 * the folder with that special use), one message for each recipient of this user, once per (id,
 * rcpt), even if it is repeated under the name of another attempt. prefix is put before the blob's
 * bytes (Return-Path, Delivered-To, each with CRLF). */
struct mailbox_recipient {
    struct slice rcpt, prefix;
};
enum { MAILBOX_RECIPIENTS_MAX = 32 }; /* in one call; one call is one Function */
struct mailbox_delivery {
    struct slice id, attempt, folder;
    struct slice listing; /* of mailbox_listing_build */
    uint64_t size;        /* bytes of the blob */
    uint64_t flags;
    int64_t date;
    size_t count;
    const struct mailbox_recipient *rcpts;
};
struct mailbox_delivered {
    int error; /* STORE_OVER_QUOTA; STORE_NOT_FOUND: the account was deleted; STORE_FULL;
                  STORE_UNAVAILABLE */
    uint32_t folder_id, uid;
    uint64_t modseq;
    bool duplicate; /* it had been delivered before */
    struct slice folder;
};
/* results[i] is rcpts[i]'s. */
typedef void mailbox_deliver_fn(void *ctx, size_t count, const struct mailbox_delivered results[]);
/* Each recipient's reference (mailbox_blob_ref) must have been added to the blob, and this must
 * have been answered. The mailbox module then owns it, and releases it when it is not needed (after
 * a definite error, or for a repeated delivery whose message no longer exists). After
 * STORE_UNAVAILABLE it is unknown whether the delivery happened: the reference stays, and the
 * janitor releases it if it did not. */
void mailbox_deliver(struct redis *r, struct slice user, const struct mailbox_delivery *delivery,
                     mailbox_deliver_fn *done, void *ctx);

/* APPEND: stores a new message; keywords are created as needed. */
typedef void mailbox_append_fn(void *ctx, int error, uint32_t uidvalidity, uint32_t uid);
void mailbox_append(struct redis *r, struct slice user, uint32_t folder_id, struct slice message, uint64_t system_flags,
                    size_t keyword_count, const struct slice keywords[], int64_t date, mailbox_append_fn *done,
                    void *ctx);

/* The same for a message of an import, under an id of the caller (a ULID that depends on the message
 * alone, so that a repeated import gives the same one), at most once: STORE_EXISTS when the mailbox
 * holds a message with this id, in any folder. The user must not have used the id for other bytes. */
void mailbox_import(struct redis *r, struct slice user, uint32_t folder_id, struct slice id, struct slice message,
                    uint64_t system_flags, size_t keyword_count, const struct slice keywords[], int64_t date,
                    mailbox_append_fn *done, void *ctx);

/* Several messages in one step: all of them or none (RFC 3502). With replaced_uid not 0, that message
 * of replaced_folder is removed in the same step, and the quota counts the difference (RFC 8508
 * §3.4); STORE_CONFLICT: it no longer exists. At most MAILBOX_APPEND_MAX; the messages must be valid
 * until done. uids: in the order of the messages; replaced_modseq: of the removal. */
enum { MAILBOX_APPEND_MAX = 100 };
struct mailbox_new {
    struct slice message;
    uint64_t flags;
    size_t keyword_count;
    const struct slice *keywords;
    int64_t date;
};
typedef void mailbox_append_all_fn(void *ctx, int error, uint32_t uidvalidity, size_t count, const uint32_t uids[],
                                   uint64_t replaced_modseq);
void mailbox_append_all(struct redis *r, struct slice user, uint32_t folder_id, size_t count,
                        const struct mailbox_new messages[], uint32_t replaced_folder, uint32_t replaced_uid,
                        mailbox_append_all_fn *done, void *ctx);

enum mailbox_store_how { MAILBOX_ADD, MAILBOX_REMOVE, MAILBOX_REPLACE };
/* Changes flags of uids. unchanged_since 0: none (RFC 7162 §3.1.3). changed: the present records
 * (those whose value did not change are left out); refused: uids whose modseq was above
 * unchanged_since; keyword_generation: which keywords the bits of the records stand for. When the
 * folder has no room for a keyword, those that no message has are removed first; STORE_LIMIT: all
 * are used. */
typedef void mailbox_store_fn(void *ctx, int error, uint32_t keyword_generation, size_t changed_count,
                              const struct mailbox_record changed[], size_t refused_count, const uint32_t refused[]);
void mailbox_store(struct redis *r, struct slice user, uint32_t folder_id, size_t count, const uint32_t uids[],
                   enum mailbox_store_how how, uint64_t system_flags, size_t keyword_count,
                   const struct slice keywords[], uint64_t unchanged_since, mailbox_store_fn *done, void *ctx);

/* COPY and MOVE: from_uids[i] became to_uids[i]; uids that no longer exist are left out.
 * STORE_NOT_FOUND: the target does not exist. After an error no message is copied: copies are
 * removed again before done is called (RFC 9051 §6.4.7). If the store cannot be reached, or the
 * process is killed, this happens before the same user's next COPY of many messages, or by the
 * janitor; STORE_CONFLICT: the same COPY began in the last 10 seconds and is not finished, which is
 * tried again. A MOVE that fails has moved some messages; each message is in one of the folders. */
typedef void mailbox_copy_fn(void *ctx, int error, uint32_t to_uidvalidity, size_t count, const uint32_t from_uids[],
                             const uint32_t to_uids[]);
void mailbox_copy(struct redis *r, struct slice user, uint32_t from_folder, size_t count, const uint32_t uids[],
                  struct slice to_name, bool move, mailbox_copy_fn *done, void *ctx);

/* Removes messages: with only_deleted, those of uids that have \Deleted. count 0: all with
 * \Deleted. */
typedef void mailbox_expunge_fn(void *ctx, int error, size_t count, const uint32_t uids[], uint64_t modseq);
void mailbox_expunge(struct redis *r, struct slice user, uint32_t folder_id, size_t count, const uint32_t uids[],
                     bool only_deleted, mailbox_expunge_fn *done, void *ctx);

struct mailbox_stat {
    uint64_t bytes, quota_bytes; /* quota 0: none */
    uint64_t messages;
};
typedef void mailbox_stat_fn(void *ctx, int error, const struct mailbox_stat *stat);
void mailbox_stat(struct redis *r, struct slice user, mailbox_stat_fn *done, void *ctx);
/* Removes the records of deleted folders, and releases the references noted in {u}:x, in bounded
 * steps. done may be NULL. */
void mailbox_sweep(struct redis *r, struct slice user, mailbox_done_fn *done, void *ctx);
/* 0: no quota. STORE_NOT_FOUND: the account was deleted. */
void mailbox_set_quota(struct redis *r, struct slice user, uint64_t quota_bytes, mailbox_done_fn *done, void *ctx);
/* Removes all of a user's mail and releases its references; a tombstone stays, so that no delivery
 * or session creates the mailbox again. Works in bounded steps; a further call continues where it
 * stopped. */
void mailbox_delete_user(struct redis *r, struct slice user, mailbox_done_fn *done, void *ctx);

#endif
