/* Mailboxes whose changes can be undone. What messages, flags and folders were before each change
 * is kept for some time in the account's journal (mailbox.lua), together with the bodies of removed
 * mail. It is seen in no listing, and counts apart from the quota.
 *
 * POSTBUS_UNDO says for how long, 0: not at all; an account may have a time of its own. The journal
 * is bounded: past 32 MB of changes, or 1 GB of removed mail, the oldest are given up first. When
 * Redis is at its maxmemory, mail is removed without a journal. The journal is not complete before
 * that, nor before a folder's unused keywords made room for others: single messages that were
 * removed before come back without their keywords. mailbox_undo_stat.from tells since when it is. */
#ifndef POSTBUS_STORE_MAILBOX_UNDO_H
#define POSTBUS_STORE_MAILBOX_UNDO_H

#include "libcommon/store/mailbox.h"

/* from: seconds since 1970: an account can be had as of any moment from then on; 0: as of any.
 * messages and bytes: removed ones that are kept. */
struct mailbox_undo_stat {
    int64_t from;
    uint64_t messages, bytes;
};

/* What was removed: a message (size > 0), or a folder with its messages. */
struct mailbox_removed {
    int64_t at;          /* seconds since 1970 */
    struct slice folder; /* its name, now or when it was deleted; "" when that is not known any more */
    uint32_t uid, size;  /* of a message */
    uint64_t messages;   /* of a folder */
    int64_t date;        /* of a message: INTERNALDATE */
    char blob[27];       /* of a message: its id */
};
/* The last `max` ones, the newest first. */
typedef void mailbox_removed_fn(void *ctx, int error, const struct mailbox_undo_stat *stat, size_t count,
                                const struct mailbox_removed removed[]);
void mailbox_removed(struct redis *r, struct slice user, size_t max, mailbox_removed_fn *done, void *ctx);

/* What is to be put back. All of it becomes new messages, with the flags, bytes and INTERNALDATE
 * that it had; a message that the folder has already is not put there again, so that a restore can
 * be repeated. Nothing is removed.
 *
 * at         the moment, in seconds since 1970: changes of that second have happened. 0: as it was
 *            when it was removed; then either `messages` or a deleted `folder` must be named
 * folder     only this one, by its name at that time, with those below it; empty: all
 * messages   only those with these ids (struct mailbox_record.blob), in whatever folder
 * beside     a folder below which all folders are put; empty: in place, where also flags become what
 *            they were, and deleted folders are made again. Folders keep their present names */
struct mailbox_restore {
    int64_t at;
    struct slice folder, beside;
    size_t message_count;
    const struct slice *messages;
};
enum { MAILBOX_RESTORE_MESSAGES = 1000 };
struct mailbox_restored {
    uint64_t messages, flags, present; /* put back; whose flags were set; there already */
    size_t folder_count;
    const uint32_t *folders; /* ids of those that have changed */
};
/* STORE_CONFLICT: the journal does not reach back to this moment. STORE_NOT_FOUND: there is nothing
 * of what was named. STORE_INVALID: neither a time nor what was removed is named. STORE_OVER_QUOTA,
 * STORE_FULL: a part may have been put back; the call can be repeated. */
typedef void mailbox_restored_fn(void *ctx, int error, const struct mailbox_restored *restored);
void mailbox_restore(struct redis *r, struct slice user, const struct mailbox_restore *what, mailbox_restored_fn *done,
                     void *ctx);

/* The time of an account, in seconds; -1: the site's. STORE_NOT_FOUND: the account was deleted. */
void mailbox_undo_set(struct redis *r, struct slice user, int64_t seconds, mailbox_done_fn *done, void *ctx);

/* Gives up what is older than it must be kept, or than most_s: the janitor's. */
void mailbox_undo_trim(struct redis *r, struct slice user, int64_t most_s, mailbox_done_fn *done, void *ctx);

#endif
