/* The mover's timer: lease, pressure, what is moved next. */
#include "services/mailbox/mover.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/store/lease.h"

/* The lease is short, because a mover that was killed must be replaced before new mail has filled
 * what is left of Redis, and may be, because two at work do no harm. FULL: when nothing more can be
 * moved and Redis is still too full. */
enum { LEASE_MS = 4000, TRY_MS = 1000, REST_MS = 2000, FULL_REST_MS = 30000, PASSES = 3 };

static struct metric leading =
    METRIC_GAUGE("postbus_mailbox_mover_leading", "1: this replica's mover is the one at work");
static struct metric hot =
    METRIC_GAUGE("postbus_mailbox_hot_bytes", "Bytes of bodies in Redis, uncompressed, at the last walk");
static struct metric cold =
    METRIC_GAUGE("postbus_mailbox_cold_bytes", "Bytes of bodies in the cold tier, uncompressed, at the last walk");
static struct metric pressed_now =
    METRIC_GAUGE("postbus_mailbox_mover_pressed", "1: Redis is above its share, so that younger bodies are moved too");

static void failed(struct mover *v) {
    v->leading = false;
    v->walking = false;
    metric_set(&leading, 0);
    mover_wait(v, TRY_MS);
}

/* The walk */

static void on_page_moved(struct mover *v) { mover_wait(v, v->pressed ? 0 : 10); }

static int64_t walk_before(const struct mover *v) {
    int64_t age = v->after_ms;
    if (v->pressed) age = v->pass == 0 ? age : v->pass == 1 ? age / 16 : 0;
    return clock_wall_ms() - age;
}

static void walk_end(struct mover *v) {
    bool any = v->moved_in_walk > 0;
    v->walking = false;
    metric_set(&hot, v->hot_bytes);
    metric_set(&cold, v->cold_bytes);
    v->next_walk_ms = clock_wall_ms() + v->every_ms;
    if (!v->pressed)
        v->pass = 0;
    else if (v->pass < PASSES - 1)
        v->pass++, v->next_walk_ms = 0;
    else
        v->next_walk_ms = any ? 0 : clock_wall_ms() + (v->every_ms < FULL_REST_MS ? v->every_ms : FULL_REST_MS);
}

static void page_answered(struct mover *v) {
    if (--v->waiting) return;
    free(v->page);
    v->page = NULL;
    bool last = v->cursor == 0;
    if (last) walk_end(v);
    if (v->batch && (last || v->batch->bytes >= BATCH_BYTES / 2 || v->batch->count >= BATCH_BODIES / 2))
        batch_move(v, on_page_moved);
    else
        on_page_moved(v);
}

static void on_where(void *ctx, int error, uint64_t size, struct slice place) {
    struct mover_page_item *item = ctx;
    struct mover *v = item->mover;
    if (!error) *(place.n ? &v->cold_bytes : &v->hot_bytes) += (int64_t)size;
    /* a page may have more than a batch takes: the rest is found by the next walk */
    if (!error && !place.n && mover_time_of(item->id) <= walk_before(v) &&
        (!v->batch || (v->batch->count < BATCH_BODIES && v->batch->bytes < BATCH_BYTES)))
        batch_add(v, item->id, place, size);
    page_answered(v);
}

static void on_page(void *ctx, int error, uint64_t next, size_t count, const struct slice ids[]) {
    struct mover *v = ctx;
    if (error) {
        failed(v);
        return;
    }
    v->cursor = next;
    v->page = memory_alloc((count + 1) * sizeof *v->page);
    v->waiting = 1;
    for (size_t i = 0; i < count; i++) {
        if (!ulid_is_valid(ids[i])) continue;
        v->page[i].mover = v;
        memcpy(v->page[i].id, ids[i].p, ULID_LENGTH);
        v->waiting++;
        blob_where(v->redis, ids[i], on_where, &v->page[i]);
    }
    page_answered(v);
}

/* The large ones */

struct large_item {
    struct large *large;
    char id[ULID_BYTES];
    bool stays; /* in the list */
};

struct large {
    struct mover *mover;
    size_t count, waiting;
    struct large_item items[LARGE_PAGE];
};

static void walk(struct mover *v) {
    int64_t now = clock_wall_ms();
    if (!v->walking && (now >= v->next_walk_ms || (v->pressed && v->pass == 0))) {
        v->walking = true;
        v->cursor = 0;
        v->moved_in_walk = v->hot_bytes = v->cold_bytes = 0;
    }
    if (v->walking)
        blob_scan(v->redis, v->cursor, on_page, v);
    else if (v->sweep.running || now >= v->sweep.next_ms)
        sweep_step(v);
    else
        mover_wait(v, v->next_walk_ms - now < REST_MS ? v->next_walk_ms - now : REST_MS);
}

static void on_forgotten(void *ctx, int error) {
    struct mover *v = ctx;
    if (error)
        failed(v);
    else if (v->batch)
        batch_move(v, on_page_moved);
    else
        walk(v);
}

static void large_answered(struct large *l) {
    struct mover *v = l->mover;
    struct slice ids[LARGE_PAGE];
    size_t count = 0;
    if (--l->waiting) return;
    for (size_t i = 0; i < l->count; i++) /* the others are no longer large bodies in Redis */
        if (!l->items[i].stays) ids[count++] = slice_of(l->items[i].id);
    if (count)
        blob_large_forget(v->redis, count, ids, on_forgotten, v);
    else if (v->batch)
        batch_move(v, on_page_moved);
    else
        walk(v);
    free(l);
}

static void on_large_where(void *ctx, int error, uint64_t size, struct slice place) {
    struct large_item *item = ctx;
    struct mover *v = item->large->mover;
    bool is_there = !error && !place.n;
    if (is_there && (!v->batch || v->batch->bytes < BATCH_BYTES)) batch_add(v, item->id, place, size);
    item->stays = is_there || (error && error != STORE_NOT_FOUND);
    large_answered(item->large);
}

static void on_large(void *ctx, int error, size_t count, const struct slice ids[]) {
    struct mover *v = ctx;
    if (error) {
        failed(v);
        return;
    }
    struct large *l = memory_alloc(sizeof *l);
    l->mover = v;
    l->waiting = 1;
    for (size_t i = 0; i < count && l->count < LARGE_PAGE; i++) {
        if (!ulid_is_valid(ids[i])) continue;
        struct large_item *item = &l->items[l->count++];
        item->large = l;
        memcpy(item->id, ids[i].p, ULID_LENGTH);
        l->waiting++;
        blob_where(v->redis, ids[i], on_large_where, item);
    }
    large_answered(l);
}

/* Each step */

static void on_memory(void *ctx, int error, int64_t used, int64_t most) {
    struct mover *v = ctx;
    if (error) {
        failed(v);
        return;
    }
    int64_t bound = most / 100 * v->hot_percent;
    bool pressed = most > 0 && used > (v->pressed ? bound - bound / 10 : bound);
    if (!pressed) v->pass = 0;
    v->pressed = pressed;
    metric_set(&pressed_now, pressed);
    int64_t now = clock_wall_ms();
    blob_large(v->redis, pressed ? now : now - v->large_after_ms, LARGE_PAGE, on_large, v);
}

static void on_lease(void *ctx, int error) {
    struct mover *v = ctx;
    if (error) {
        failed(v);
        return;
    }
    if (!v->leading) log_info("the mover is at work here", NULL);
    v->leading = true;
    metric_set(&leading, 1);
    store_memory(v->redis, on_memory, v);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
    struct mover *v = ctx;
    (void)fd, (void)what;
    if (v->stopping || v->busy) return;
    v->busy = true;
    v->m->requests++;
    lease_acquire(v->redis, SLICE(COLD_KEY_LEASE), v->token, LEASE_MS, on_lease, v);
}

struct mover *mover_create(struct mailbox_worker *m) {
    struct cold *c = cold_of(m->worker->redis);
    int64_t after_s = config_seconds("POSTBUS_COLD_AFTER", "3d", 0, 3650 * 86400LL);
    int64_t large_s = config_seconds("POSTBUS_COLD_LARGE_AFTER", "1m", 0, 3650 * 86400LL);
    int64_t every_s = config_seconds("POSTBUS_COLD_EVERY", "1h", 1, 30 * 86400);
    int64_t sweep_s = config_seconds("POSTBUS_COLD_SWEEP", "6h", 1, 30 * 86400);
    int64_t grace_s = config_seconds("POSTBUS_COLD_GRACE", "1h", 1, 30 * 86400);
    int64_t percent = config_number("POSTBUS_HOT_PERCENT", 50, 1, 100);
    if (!cold_target(c) || m->worker->index != 0) return NULL;
    struct mover *v = memory_alloc(sizeof *v);
    *v = (struct mover){.m = m,
                        .redis = m->worker->redis,
                        .cold = c,
                        .after_ms = after_s * 1000,
                        .large_after_ms = large_s * 1000,
                        .every_ms = every_s * 1000,
                        .sweep_ms = sweep_s * 1000,
                        .grace_ms = grace_s * 1000,
                        .hot_percent = (int)percent};
    v->sweep.next_ms = clock_wall_ms() + v->sweep_ms;
    ulid_create(v->token);
    v->timer = event_new(m->worker->base, -1, 0, on_timer, v);
    if (!v->timer) memory_exhausted();
    struct timeval soon = {0, 100000};
    event_add(v->timer, &soon);
    return v;
}

void mover_drain(struct mover *v) {
    if (!v || v->stopping) return;
    v->stopping = true;
    event_del(v->timer);
    if (v->leading) lease_release(v->redis, SLICE(COLD_KEY_LEASE), v->token, NULL, NULL);
}

void mover_stop(struct mover *v) {
    if (!v) return;
    mover_drain(v);
    v->orphan = true;
    if (!v->busy) mover_free(v);
}
