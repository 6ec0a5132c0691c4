/* One state of a folder: its messages in uid order, and its keywords. A version never changes, so
 * that it can be shared by the copy of the folder that a worker keeps (snapshot.h) and by all
 * sessions that were told this state (view.h). Two successive versions share the chunks of messages
 * that did not change: a change costs one chunk, and the differences of two versions are found
 * without looking at the chunks that they share. Belongs to one worker; not thread-safe. */
#ifndef POSTBUS_IMAPD_VERSION_H
#define POSTBUS_IMAPD_VERSION_H

#include "libcommon/store/mailbox.h"

struct keywords {
    unsigned references;
    uint32_t generation;
    size_t count;
    char *names[]; /* "": no keyword has this bit */
};

struct chunk {
    unsigned references;
    uint32_t count; /* at least 1 */
    struct mailbox_record records[];
};

struct version_part {
    struct chunk *chunk;
    size_t start; /* the index of its first message */
};

struct version {
    unsigned references;
    uint32_t uidvalidity, uidnext;
    uint64_t modseq; /* all changes up to this one are included */
    bool own;        /* what one session was told; not a state that the folder had */
    struct keywords *keywords;
    size_t count; /* messages */
    size_t part_count;
    struct version_part parts[];
};

struct version *version_hold(struct version *v); /* one reference more; returns v */
void version_release(struct version *v);         /* NULL: nothing */

/* The state that an answer of mailbox_sync describes. before: the version at whose modseq it was
 * asked, or NULL; full: the answer has all messages. records and vanished in ascending order. */
struct version *version_after(const struct version *before, const struct mailbox_folder *folder, bool full,
                              size_t count, const struct mailbox_record records[], size_t vanished_count,
                              const uint32_t vanished[]);
/* `before` with these present records of some of its messages, in ascending order; those that are
 * not in it, and those that are older than its own, are ignored. own: see struct version. */
struct version *version_with_records(const struct version *before, bool own, uint64_t modseq, size_t count,
                                     const struct mailbox_record records[]);
/* `before` without these uids, in ascending order. */
struct version *version_without(const struct version *before, uint64_t modseq, size_t count, const uint32_t uids[]);
/* What a client knows that was told `now` after `told`. keep_gone: except for the removals, so that
 * the messages that are only in `told` stay. A message of `told` with a higher modseq than in `now`
 * stays as it is. Returns a reference to `now` itself when it is the same. */
struct version *version_merge(struct version *told, struct version *now, bool keep_gone);

/* Part and place of a message. */
struct place {
    size_t part;
    uint32_t at;
};
/* The index of the first message with at least this uid (count when there is none). */
size_t version_lower(const struct version *v, uint32_t uid);
/* The message with this index (< count). */
const struct mailbox_record *version_at(const struct version *v, size_t index);
/* The uids of messages from this index (< count) on, up to max or the end of its chunk; returns how
 * many. */
size_t version_uids(const struct version *v, size_t index, size_t max, uint32_t uids[]);
/* The message with this uid; NULL: there is none. index may be NULL. */
const struct mailbox_record *version_find(const struct version *v, uint32_t uid, size_t *index);
/* The highest uid; 0 in an empty folder. */
uint32_t version_last_uid(const struct version *v);

/* Goes through the messages that differ. Zeroed but for the versions: at the beginning. */
struct difference {
    const struct version *told, *now;
    struct place t, n;
    size_t kept;                       /* messages before this one that are in both */
    size_t gone;                       /* messages before this one that are only in told */
    const struct mailbox_record *from; /* NULL: new */
    const struct mailbox_record *to;   /* NULL: gone */
};
/* The next difference, in uid order, where the messages up to (kept, gone) come before it. Looks at
 * no more than about `work` messages (and reduces it); false with *work > 0: there are no more. */
bool difference_next(struct difference *d, size_t *work);

#endif
