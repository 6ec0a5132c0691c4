/* The one copy of a folder that a worker keeps for all of its sessions that have selected it. It is
 * brought up to date by one read of the store at a time, however many sessions wait for it, and
 * sessions that watch are told when it has changed. A folder that nobody has selected any more is
 * kept for a while, so that selecting it again reads only the changes (see limits.h). Knows nothing
 * of sessions. */
#ifndef POSTBUS_IMAPD_SNAPSHOT_H
#define POSTBUS_IMAPD_SNAPSHOT_H

#include "services/imapd/view/version.h"

struct snapshots; /* of a worker */
struct snapshot;

/* A member of the struct of whoever views a folder; private to snapshot.c but for news and ctx. */
struct snapshot_viewer {
    void (*news)(void *ctx); /* the folder has changed, or was deleted; only
                                while watching. It must not leave, but wake its owner */
    void *ctx;
    struct snapshot *snapshot; /* NULL: none is viewed */
    struct snapshot_viewer *previous, *next;
    bool watching;
};

/* A wish to see the state that the store has now or later. Not to be freed before its answer. */
struct snapshot_look {
    void (*done)(void *ctx, int error); /* error: 0 or enum store_error; STORE_NOT_FOUND: the folder was deleted */
    void *ctx;
    struct snapshot_look *next;
};

struct snapshots *snapshots_create(struct redis *r);
/* Nobody views a folder any more. Answers that are still to come change nothing. */
void snapshots_destroy(struct snapshots *all);
/* An event told that this folder (0: any of them) of this owner has changed up to modseq (0: it is
 * not known). */
void snapshots_news(struct snapshots *all, struct slice owner, uint32_t folder_id, uint64_t modseq);
/* Called every second or so: looks where no event came for LIMIT_RESYNC_S, because events may be
 * lost, and forgets what nobody has viewed for a while. */
void snapshots_clock(struct snapshots *all, int64_t now_us);

/* The viewer's folder from now on. Its state may be unknown (snapshot_now) until a look. */
void snapshot_join(struct snapshots *all, struct slice owner, uint32_t folder_id, struct snapshot_viewer *viewer);
void snapshot_leave(struct snapshot_viewer *viewer);
/* Whether news() is called. */
void snapshot_watch(struct snapshot_viewer *viewer, bool watching);

/* Reads the changes. done is never called before this returns. */
void snapshot_look(struct snapshot *s, struct snapshot_look *look);
/* The last known state; NULL before the first look. Valid until the loop runs again, unless held. */
struct version *snapshot_now(const struct snapshot *s);
/* There is a change that the last known state does not include. */
void snapshot_suspect(struct snapshot *s);
/* Whether an event or a viewer told of such a change. */
bool snapshot_is_stale(const struct snapshot *s);
bool snapshot_is_gone(const struct snapshot *s); /* the folder was deleted */
struct slice snapshot_name(const struct snapshot *s);
struct slice snapshot_owner(const struct snapshot *s);
uint32_t snapshot_folder(const struct snapshot *s);

/* The bound below which no message is recent for a further session (mailbox_recent), as far as this
 * worker knows; 0: it does not. */
uint32_t snapshot_recent(const struct snapshot *s);
void snapshot_set_recent(struct snapshot *s, uint32_t bound);

/* The results of a viewer's own changes, in ascending order of uids, so that they need not be read
 * again: the present records, or removed uids, the last of them with this modseq. */
void snapshot_learn_records(struct snapshot *s, size_t count, const struct mailbox_record records[]);
void snapshot_learn_removed(struct snapshot *s, size_t count, const uint32_t uids[], uint64_t modseq);

#endif
