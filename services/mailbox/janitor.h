/* The janitor removes data that a killed process has left in the store: references to bodies
 * without an owner, notes of bodies to release, remains of deleted users, records of deleted
 * folders. It also removes expired records of deliveries and removed mail that need not be kept any
 * longer (POSTBUS_UNDO), and recounts the totals on which quotas depend. Of removed mail it keeps a
 * day's while Redis uses more than UNDO_PERCENT of its maxmemory, and none above UNDO_FULL_PERCENT.
 *
 * One replica works at a time: it holds a lease, and its progress is stored. A round checks all
 * bodies, then all users, in steps of BODIES_A_STEP or USERS_A_STEP with a pause after each. Two
 * replicas at once would do no harm: every step may be repeated, and a reference is released only
 * when it had no owner at two checks, at least the grace period apart, and the message is older
 * than that.
 *
 * Keys in a form that this version does not write are never removed: they are logged and counted
 * (postbus_mailbox_janitor_unowned). */
#ifndef POSTBUS_MAILBOX_JANITOR_H
#define POSTBUS_MAILBOX_JANITOR_H

#include "libcommon/store/blob.h"
#include "libcommon/store/mailbox/mailbox_janitor.h"
#include "services/mailbox/mailbox_service.h"

enum { BODIES_A_STEP = 64, USERS_A_STEP = 16, JANITOR_REMEMBERED = 1 << 16, UNDO_PERCENT = 80, UNDO_FULL_PERCENT = 95 };
enum janitor_phase { JANITOR_BODIES, JANITOR_USERS, JANITOR_PHASES };

/* One item to check. */
struct janitor_item {
    struct slice name; /* a blob id, or a user id */
    size_t count;
    struct slice *rests; /* of a user: the rest after "{u:<user>}" in each key */
};

struct janitor {
    struct mailbox_worker *m; /* NULL after janitor_stop() */
    struct redis *redis;
    struct event *timer;
    char token[ULID_BYTES];
    bool leading, stopping;
    int busy; /* pending answers of the store; a whole step counts as one */
    struct janitor_state state;
    int64_t renew_us; /* when the lease is extended */
    /* settings */
    int64_t every_ms, grace_ms, recount_s;
    int64_t undo_most_s; /* removed mail is kept for no longer: less while Redis is nearly full */
    int pause_ms;
    /* a page of scanned keys, and the running step */
    struct arena *page, *step;
    struct janitor_item *items;
    size_t count, at;
    bool loaded;
    uint64_t next_cursor;
    size_t waiting;
    int error;
    void (*step_done)(struct janitor *j);
    int64_t suspects, unowned; /* of this round */
    uint64_t *remembered;      /* users that were checked in this round, by a part of their id */
};

/* Each looks at these items, and calls janitor_answered() once for each of the j->waiting that it
 * has added. */
void janitor_look_at_bodies(struct janitor *j, size_t count, const struct janitor_item items[]);
void janitor_look_at_users(struct janitor *j, size_t count, const struct janitor_item items[]);

/* janitor_step.c: an answer of the running step; the last one ends it. */
void janitor_answered(struct janitor *j, int error);
/* Reports a key without an owner, which is not removed. */
void janitor_say_unowned(struct janitor *j, const char *what, struct slice name);

/* NULL when it is switched off. */
struct janitor *janitor_create(struct mailbox_worker *m);
/* Begins no further step, and releases the lease for another replica. A running step counts as a
 * request. */
void janitor_drain(struct janitor *j);
void janitor_stop(struct janitor *j); /* NULL is allowed */

#endif
