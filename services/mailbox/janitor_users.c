/* Users: remains of deleted ones, references to be released, expired records of deliveries, and
 * totals. */
#include "services/mailbox/janitor.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/undo/mailbox_undo.h"

enum { FORGET_MAX = 200 };

static struct metric leftovers =
    METRIC_COUNTER("postbus_mailbox_janitor_leftovers_total", "Keys of deleted users that were left, removed");
static struct metric swept =
    METRIC_COUNTER("postbus_mailbox_janitor_swept_total", "Mailboxes with bodies that waited to be released");
static struct metric forgotten =
    METRIC_COUNTER("postbus_mailbox_janitor_memos_total", "Notes of old deliveries that were forgotten");
static struct metric recounted = METRIC_COUNTER("postbus_mailbox_janitor_recounts_total", "Mailboxes recounted");
static struct metric wrong =
    METRIC_COUNTER("postbus_mailbox_janitor_recounts_wrong_total", "Mailboxes whose figures were wrong, put right");

struct look {
    struct janitor *janitor;
    const struct janitor_item *item;
    struct janitor_user user;
};

/* Deleted */

static void on_unlinked(void *ctx, int result) {
    struct look *l = ctx;
    if (result > 0) metric_add(&leftovers, result);
    janitor_answered(l->janitor, result < 0 ? result : 0);
}

static void on_deleted(void *ctx, int error) {
    struct look *l = ctx;
    if (error)
        janitor_answered(l->janitor, error);
    else
        janitor_unlink(l->janitor->redis, l->item->name, l->item->count, l->item->rests, on_unlinked, l);
}

/* Alive */

static void on_recounted(void *ctx, int error, enum janitor_count result) {
    struct look *l = ctx;
    if (!error && result != JANITOR_CHANGED) metric_add(&recounted, 1);
    if (!error && result == JANITOR_WRONG) {
        metric_add(&wrong, 1);
        log_warn("the figures of a mailbox were wrong and are right now", "user", l->item->name.p, NULL);
    }
    janitor_answered(l->janitor, error);
}

static void on_forgotten(void *ctx, int result) {
    struct look *l = ctx;
    struct janitor *j = l->janitor;
    int64_t now = clock_wall_ms() / 1000;
    if (result < 0) {
        janitor_answered(j, result);
        return;
    }
    metric_add(&forgotten, result);
    if (result == FORGET_MAX)
        janitor_forget(j->redis, l->item->name, FORGET_MAX, on_forgotten, l);
    else if (j->recount_s && l->user.changed && now - l->user.counted >= j->recount_s)
        janitor_recount(j->redis, l->item->name, now, on_recounted, l);
    else
        janitor_answered(j, 0);
}

static void on_trimmed(void *ctx, int error) {
    struct look *l = ctx;
    if (error)
        janitor_answered(l->janitor, error);
    else
        janitor_forget(l->janitor->redis, l->item->name, FORGET_MAX, on_forgotten, l);
}

static void on_swept(void *ctx, int error) {
    struct look *l = ctx;
    if (error)
        janitor_answered(l->janitor, error);
    else
        mailbox_undo_trim(l->janitor->redis, l->item->name, l->janitor->undo_most_s, on_trimmed, l);
}

/* Mailboxes that were checked in this round are not checked again, because the keys of each are in
 * many pages. A mailbox whose place in the table another has taken is checked more than once. */
static uint64_t *place_of(struct janitor *j, struct slice user, uint64_t *hash) {
    *hash = 14695981039346656037u;
    for (size_t i = 0; i < user.n; i++) *hash = (*hash ^ (unsigned char)user.p[i]) * 1099511628211u;
    return &j->remembered[*hash % JANITOR_REMEMBERED];
}

static void remember(struct janitor *j, struct slice user) {
    uint64_t hash, *place = place_of(j, user, &hash);
    *place = hash;
}

static bool is_remembered(struct janitor *j, struct slice user) {
    uint64_t hash;
    const uint64_t *place = place_of(j, user, &hash);
    return *place == hash;
}

static void on_look(void *ctx, int error, const struct janitor_user *user) {
    struct look *l = ctx;
    struct janitor *j = l->janitor;
    l->user = *user;
    if (!error && !user->deleted) remember(j, l->item->name);
    if (error) {
        janitor_answered(j, error);
    } else if (user->deleted) {
        mailbox_delete_user(j->redis, l->item->name, on_deleted, l);
    } else if (!user->known) {
        janitor_say_unowned(j, "a key of a user without a mailbox", l->item->name);
        janitor_answered(j, 0);
    } else if (user->waiting) {
        metric_add(&swept, 1);
        mailbox_sweep(j->redis, l->item->name, on_swept, l);
    } else {
        on_swept(l, 0);
    }
}

void janitor_look_at_users(struct janitor *j, size_t count, const struct janitor_item items[]) {
    for (size_t i = 0; i < count; i++) {
        if (is_remembered(j, items[i].name)) continue;
        struct look *l = arena_alloc(j->step, sizeof *l);
        l->janitor = j;
        l->item = &items[i];
        j->waiting++;
        janitor_look(j->redis, items[i].name, on_look, l);
    }
}
