/* What the janitor asks of the store. Only the mailbox service uses it: it needs SCAN, which no other service may have.
 * Every call is one short Function or one page, and may be repeated. */
#ifndef POSTBUS_STORE_MAILBOX_JANITOR_H
#define POSTBUS_STORE_MAILBOX_JANITOR_H

#include "libcommon/store/mailbox.h"

/* Where the work stands. It is kept in the store, so that another replica goes on there. */
struct janitor_state {
    uint64_t round, cursor;
    int phase;
    int64_t next_ms; /* when the next round begins; 0: one is under way */
};
/* STORE_LOST: another replica has the lease. */
typedef void janitor_state_fn(void *ctx, int error, const struct janitor_state *state);
/* Takes or extends the lease, and answers where the work stands. */
void janitor_lease(struct redis *r, const char *token, int64_t lease_ms, janitor_state_fn *done, void *ctx);
/* Extends the lease, and keeps where the work stands. STORE_LOST. */
void janitor_save(struct redis *r, const char *token, int64_t lease_ms, const struct janitor_state *state,
                  mailbox_done_fn *done, void *ctx);
void janitor_give_up(struct redis *r, const char *token, mailbox_done_fn *done, void *ctx);

/* Notes references that belong to nobody, each "<blob id> <reference>" (at most 1,000), and answers when each was first
 * seen so (ms), in this round or the one before. */
typedef void janitor_suspect_fn(void *ctx, int error, size_t count, const int64_t first_ms[]);
void janitor_suspect(struct redis *r, uint64_t round, int64_t now_ms, size_t count, const struct slice suspects[],
                     janitor_suspect_fn *done, void *ctx);

/* A page of the keys of all users. cursor 0 begins; next 0: that was all. A key may come twice. */
typedef void janitor_scan_fn(void *ctx, int error, uint64_t next, size_t count, const struct slice keys[]);
void janitor_scan(struct redis *r, uint64_t cursor, janitor_scan_fn *done, void *ctx);
/* The user of a key "{u:<user>}…" and what follows its "}"; false: it is none. */
bool janitor_user_of(struct slice key, struct slice *user, struct slice *rest);

/* Which of these names (at most 1,000) do not hold the blob. */
typedef void janitor_unheld_fn(void *ctx, int error, size_t count, const struct slice names[]);
void janitor_unheld(struct redis *r, struct slice user, struct slice id, size_t count, const struct slice names[],
                    janitor_unheld_fn *done, void *ctx);

struct janitor_user {
    bool deleted;    /* has a tombstone */
    bool known;      /* has figures, so is a mailbox */
    bool waiting;    /* has something that waits to be released */
    bool changed;    /* since its last recount */
    int64_t counted; /* when that was, seconds; 0: never */
};
typedef void janitor_user_fn(void *ctx, int error, const struct janitor_user *user);
void janitor_look(struct redis *r, struct slice user, janitor_user_fn *done, void *ctx);
/* Removes keys of a deleted user, each named by what follows "{u:<user>}"; at most 1,000. done gets how many. */
void janitor_unlink(struct redis *r, struct slice user, size_t count, const struct slice rests[], mailbox_done_fn *done,
                    void *ctx);
/* Forgets deliveries that are older than they need be kept, at most max. done gets how many. */
void janitor_forget(struct redis *r, struct slice user, size_t max, mailbox_done_fn *done, void *ctx);

/* Counts a mailbox's messages, bytes and unseen from the records, page by page, and puts the figures right where they
 * differ. One that changes meanwhile is left for another time. */
enum janitor_count { JANITOR_RIGHT, JANITOR_WRONG, JANITOR_CHANGED };
typedef void janitor_count_fn(void *ctx, int error, enum janitor_count result);
void janitor_recount(struct redis *r, struct slice user, int64_t now_s, janitor_count_fn *done, void *ctx);

#endif
