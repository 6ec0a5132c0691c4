/* The janitor removes what a process that was killed between two steps has left in the store: references to bodies that
 * nobody holds, notes of bodies to release, what is left of deleted users, records of deleted folders; it forgets old
 * deliveries and recounts the figures that quotas are held against.
 *
 * Of all replicas one is at work at a time: it holds a lease, and where it stands is kept in the store. A round looks
 * at all bodies, then at all users, in steps of BODIES_A_STEP or USERS_A_STEP with a pause after each. Two at work at
 * once would do no harm: every step may be repeated, and a reference is released only when it was seen to belong to
 * nobody twice, at least the grace period apart, and the message is older than that.
 *
 * What has another shape than this version writes is never removed: it is logged and counted
 * (postbus_mailbox_janitor_unowned). */
#ifndef POSTBUS_MAILBOX_JANITOR_H
#define POSTBUS_MAILBOX_JANITOR_H

#include "libcommon/store/blob.h"
#include "libcommon/store/mailbox/mailbox_janitor.h"
#include "services/mailbox/mailbox_service.h"

enum { BODIES_A_STEP = 64, USERS_A_STEP = 16, JANITOR_REMEMBERED = 1 << 16 };
enum janitor_phase { JANITOR_BODIES, JANITOR_USERS, JANITOR_PHASES };

/* One thing to look at. */
struct janitor_item {
    struct slice name; /* a blob id, or a user id */
    size_t count;
    struct slice *rests; /* of a user: what follows "{u:<user>}" in each key */
};

struct janitor {
    struct mailbox_worker *m; /* NULL after janitor_stop() */
    struct redis *redis;
    struct event *timer;
    char token[ULID_BYTES];
    bool leading, stopping;
    int busy; /* answers of the store that are to come; a whole step counts as one */
    struct janitor_state state;
    int64_t renew_us; /* when the lease is extended */
    /* settings */
    int64_t every_ms, grace_ms, recount_s;
    int pause_ms;
    /* a page of what was scanned, and the step that is under way */
    struct arena *page, *step;
    struct janitor_item *items;
    size_t count, at;
    bool loaded;
    uint64_t next_cursor;
    size_t waiting;
    int error;
    int64_t suspects, unowned; /* of this round */
    uint64_t *remembered;      /* users that were looked at in this round, by a part of their id */
};

/* Each looks at these items, and calls janitor_answered() once for each of the j->waiting that it has added. */
void janitor_look_at_bodies(struct janitor *j, size_t count, const struct janitor_item items[]);
void janitor_look_at_users(struct janitor *j, size_t count, const struct janitor_item items[]);
void janitor_answered(struct janitor *j, int error);
/* Something that nobody owns and that is not removed. */
void janitor_say_unowned(struct janitor *j, const char *what, struct slice name);

/* NULL where it is switched off. */
struct janitor *janitor_create(struct mailbox_worker *m);
/* Begins nothing new, and lets another replica go on. A step that is under way counts as a request. */
void janitor_drain(struct janitor *j);
void janitor_stop(struct janitor *j); /* NULL is allowed */

#endif
