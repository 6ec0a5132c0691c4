/* The janitor's access to the store. Only the mailbox service uses it, because it needs SCAN, which
 * no other service may use. Every call is one short Function or one page, and may be repeated. */
#ifndef POSTBUS_STORE_MAILBOX_JANITOR_H
#define POSTBUS_STORE_MAILBOX_JANITOR_H

#include "libcommon/store/mailbox.h"

/* The progress of the work. It is stored, so that another replica can continue from there. */
struct janitor_state {
    uint64_t round, cursor;
    int phase;
    int64_t next_ms; /* time of the next round; 0: one is running */
};
/* STORE_LOST: another replica has the lease. */
typedef void janitor_state_fn(void *ctx, int error, const struct janitor_state *state);
/* Takes or extends the lease, and returns the progress of the work. */
void janitor_lease(struct redis *r, const char *token, int64_t lease_ms, janitor_state_fn *done, void *ctx);
/* Extends the lease, and stores the progress of the work. STORE_LOST. */
void janitor_save(struct redis *r, const char *token, int64_t lease_ms, const struct janitor_state *state,
                  mailbox_done_fn *done, void *ctx);
void janitor_give_up(struct redis *r, const char *token, mailbox_done_fn *done, void *ctx);

/* Records references without an owner, each "<blob id> <reference>" (at most 1,000), and returns
 * when each was first recorded (ms), in this round or the previous one. */
typedef void janitor_suspect_fn(void *ctx, int error, size_t count, const int64_t first_ms[]);
void janitor_suspect(struct redis *r, uint64_t round, int64_t now_ms, size_t count, const struct slice suspects[],
                     janitor_suspect_fn *done, void *ctx);

/* A page of the keys of all users. cursor 0 begins; next 0: the last page. A key may occur
 * twice. */
typedef void janitor_scan_fn(void *ctx, int error, uint64_t next, size_t count, const struct slice keys[]);
void janitor_scan(struct redis *r, uint64_t cursor, janitor_scan_fn *done, void *ctx);
/* The user of a key "{u:<user>}…" and the rest after "}"; false: it is not such a key. */
bool janitor_user_of(struct slice key, struct slice *user, struct slice *rest);

/* Which of these names (at most 1,000) do not hold the blob. */
typedef void janitor_unheld_fn(void *ctx, int error, size_t count, const struct slice names[]);
void janitor_unheld(struct redis *r, struct slice user, struct slice id, size_t count, const struct slice names[],
                    janitor_unheld_fn *done, void *ctx);

struct janitor_user {
    bool deleted;    /* has a tombstone */
    bool known;      /* has totals, so it is a mailbox */
    bool waiting;    /* has references to be released */
    bool changed;    /* since its last recount */
    int64_t counted; /* time of the last recount, seconds; 0: never */
};
typedef void janitor_user_fn(void *ctx, int error, const struct janitor_user *user);
void janitor_look(struct redis *r, struct slice user, janitor_user_fn *done, void *ctx);
/* Removes keys of a deleted user, each named by its rest after "{u:<user>}"; at most 1,000. done
 * gets their number. */
void janitor_unlink(struct redis *r, struct slice user, size_t count, const struct slice rests[], mailbox_done_fn *done,
                    void *ctx);
/* Removes records of deliveries that have expired, at most max. done gets their number. */
void janitor_forget(struct redis *r, struct slice user, size_t max, mailbox_done_fn *done, void *ctx);

/* Counts a mailbox's messages, bytes and unseen from the records, page by page, and corrects the
 * totals if they differ. A mailbox that changes in the meantime is left for another time. */
enum janitor_count { JANITOR_RIGHT, JANITOR_WRONG, JANITOR_CHANGED };
typedef void janitor_count_fn(void *ctx, int error, enum janitor_count result);
void janitor_recount(struct redis *r, struct slice user, int64_t now_s, janitor_count_fn *done, void *ctx);

#endif
