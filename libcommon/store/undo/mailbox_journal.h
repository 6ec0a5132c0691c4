/* An account's journal as mailbox.lua writes it, read as a whole, and what messages were at a moment
 * by it. Private to libcommon/store/undo. */
#ifndef POSTBUS_STORE_MAILBOX_JOURNAL_H
#define POSTBUS_STORE_MAILBOX_JOURNAL_H

#include "libcommon/store/mailbox/mailbox_private.h"
#include "libcommon/store/undo/mailbox_undo.h"

struct journal_entry {
    struct slice id; /* of the stream */
    int64_t at;      /* seconds since 1970 */
    char kind;       /* mailbox.lua, "The journal" */
    uint32_t folder;
    struct slice value;
};

struct journal {
    struct arena *arena; /* of all texts */
    struct mailbox_undo_stat stat;
    size_t count, room;
    struct journal_entry *entries; /* the oldest first */
};

/* The entries of changes after `at` (0: all of them). The caller frees the journal (mailbox_journal_free),
 * after an error too. */
typedef void journal_fn(void *ctx, int error, struct journal *j);
void mailbox_journal_read(struct redis *r, const char *key, int64_t at, journal_fn *done, void *ctx);
void mailbox_journal_free(struct journal *j);

/* The fields of an entry d. False: malformed. */
struct journal_folder {
    struct slice name, special_use, keywords;
    int64_t made; /* seconds since 1970; 0: not known */
    uint64_t messages;
};
bool journal_folder_read(struct slice value, struct journal_folder *out);
/* Takes the first record of an entry r or m. */
bool journal_take_removed(struct slice *value, struct mailbox_record *out);

/* A message that was changed after the moment: what it was then. */
struct journal_state {
    uint32_t folder, uid;
    uint64_t flags;
    const struct journal_entry *entry; /* of a removed one: where its record is; else NULL */
    struct slice removed;              /* for journal_take_removed */
};
/* Of every changed message, by folder and uid; freed with free(). Pure. */
struct journal_state *journal_states(const struct journal *j, size_t *count);
/* The one of this message, or NULL. */
const struct journal_state *journal_state_find(size_t count, const struct journal_state states[], uint32_t folder,
                                               uint32_t uid);
/* The name that a folder had at the moment, when it has this one after all these changes. */
struct slice journal_name(const struct journal *j, uint32_t folder, struct slice name);

#endif
