/* A restore under way. Private to mailbox_restore.c and mailbox_plan.c. */
#ifndef POSTBUS_STORE_MAILBOX_RESTORE_H
#define POSTBUS_STORE_MAILBOX_RESTORE_H

#include "libcommon/store/undo/mailbox_journal.h"

/* PUT: to be put back. FLAGS: it is there, and its flags are to be set. */
enum item_what { ITEM_PUT, ITEM_FLAGS, ITEM_DONE };

/* A message as it was. */
struct plan_item {
    struct slice entry;                     /* of the journal, where its record is; empty: the folder's records */
    uint32_t folder, uid, variant, present; /* present: its uid in the target */
    uint64_t flags;
    char blob[27];
    enum item_what what;
};

/* A folder as it was. */
struct plan_folder {
    uint32_t id;
    bool deleted;
    struct slice name, special_use, keywords; /* its name at the moment */
    size_t count, room;
    struct plan_item *items; /* by uid */
};

struct restoring {
    struct redis *r;
    char *key;
    mailbox_restored_fn *done;
    void *ctx;
    struct mailbox_restore what;
    struct arena *arena;
    struct journal *journal;
    size_t state_count;
    struct journal_state *states;
    size_t folder_count, at; /* at: the folder at work */
    struct plan_folder *folders;
    size_t found; /* folders of which there is something to put back */
    /* the folder at work */
    uint32_t target;
    struct slice target_name;
    struct mailbox_records live; /* the target's, by message */
    bool *taken;
    size_t item;
    /* the result */
    struct mailbox_restored result;
    size_t touched_count;
    uint32_t *touched;
};

/* mailbox_plan.c: pure. The folders of which something may be put back. */
void plan_folders(struct restoring *o, size_t count, const struct mailbox_folder folders[]);
/* A message that the folder has, or had when it was deleted: added if it was there at the moment. */
void plan_add(struct restoring *o, struct plan_folder *f, const struct mailbox_record *record, struct slice entry);
/* Those that were removed from it since. */
void plan_removed(struct restoring *o, struct plan_folder *f);
/* In the order of their uids, each once. */
void plan_settle(struct restoring *o, struct plan_folder *f);

#endif
