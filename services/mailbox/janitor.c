/* The janitor's timer: lease, rounds, pauses. */
#include "services/mailbox/janitor.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob/blob_mover.h"

/* A replica that dies is replaced after LEASE_MS at the latest; replicas without the lease try to
 * get it every TRY_MS. */
enum { LEASE_MS = 30000, TRY_MS = 10000, REST_MS = 5000 };

static struct metric rounds = METRIC_COUNTER("postbus_mailbox_janitor_rounds_total", "Rounds of the janitor");
static struct metric leading =
    METRIC_GAUGE("postbus_mailbox_janitor_leading", "1: this replica's janitor is the one at work");
static struct metric suspects_last =
    METRIC_GAUGE("postbus_mailbox_janitor_suspects", "References that belong to nobody, in the last round");
static struct metric unowned_last = METRIC_GAUGE(
    "postbus_mailbox_janitor_unowned", "Keys and references that nobody owns and that are not removed, in the last "
                                       "round");

static int64_t try_ms(const struct janitor *j) { return j->every_ms / 4 < TRY_MS ? j->every_ms / 4 : TRY_MS; }

static void wait_for(struct janitor *j, int64_t ms) {
    if (ms < 1) ms = 1;
    struct timeval wait = {ms / 1000, (ms % 1000) * 1000};
    if (!j->stopping) event_add(j->timer, &wait);
}

static void page_free(struct janitor *j) {
    arena_destroy(j->page);
    j->page = NULL;
    j->items = NULL;
    j->count = j->at = 0;
    j->loaded = false;
}

static void janitor_free(struct janitor *j) {
    page_free(j);
    arena_destroy(j->step);
    event_free(j->timer);
    free(j->remembered);
    free(j);
}

/* A step counts as a request, so that a process does not end in the middle of one. */
static void busy_begin(struct janitor *j) {
    j->busy++;
    j->m->requests++;
}

/* False: the janitor was stopped. */
static bool busy_end(struct janitor *j) {
    j->busy--;
    if (!j->m) {
        if (!j->busy) janitor_free(j);
        return false;
    }
    requests_end(j->m, 0);
    return true;
}

static void lead(struct janitor *j, bool yes) {
    if (j->leading != yes) log_info(yes ? "the janitor is at work here" : "the janitor is not at work here", NULL);
    j->leading = yes;
    metric_set(&leading, yes);
    if (yes) return;
    page_free(j);
    metric_set(&suspects_last, 0); /* another replica reports them now */
    metric_set(&unowned_last, 0);
}

static void renewed(struct janitor *j) { j->renew_us = clock_monotonic_us() + LEASE_MS / 3 * 1000; }

static void on_saved(void *ctx, int error) {
    struct janitor *j = ctx;
    if (!busy_end(j)) return;
    if (error) lead(j, false);
    renewed(j);
    wait_for(j, error ? try_ms(j) : j->pause_ms);
}

static void save(struct janitor *j) {
    busy_begin(j);
    janitor_save(j->redis, j->token, LEASE_MS, &j->state, on_saved, j);
}

static void on_lease(void *ctx, int error, const struct janitor_state *state) {
    struct janitor *j = ctx;
    if (!busy_end(j)) return;
    if (!error) {
        lead(j, true);
        j->state = *state;
        renewed(j);
    }
    wait_for(j, error ? try_ms(j) : j->pause_ms);
}

/* Pages */

static int by_bytes(const void *one, const void *other) {
    const struct slice *a = one, *b = other;
    int order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

/* Items of sorted, copied names: each blob id once; or each user once, with all his keys. */
static void page_fill(struct janitor *j, size_t count, struct slice names[]) {
    j->items = arena_alloc(j->page, (count + 1) * sizeof *j->items);
    if (count) qsort(names, count, sizeof *names, by_bytes);
    for (size_t i = 0; i < count; i++) {
        struct slice name = names[i], rest = SLICE("");
        if (j->state.phase == JANITOR_USERS && !janitor_user_of(names[i], &name, &rest)) continue;
        if (j->count == 0 || !slice_equal(j->items[j->count - 1].name, name)) {
            j->items[j->count].name = name;
            j->items[j->count++].rests = arena_alloc(j->page, (count - i) * sizeof rest);
        }
        struct janitor_item *item = &j->items[j->count - 1];
        if (item->count == 0 || !slice_equal(item->rests[item->count - 1], rest)) item->rests[item->count++] = rest;
    }
}

static void on_page(void *ctx, int error, uint64_t next, size_t count, const struct slice names[]) {
    struct janitor *j = ctx;
    if (!error && j->m) {
        j->page = arena_create();
        struct slice *copies = arena_alloc(j->page, (count + 1) * sizeof *copies);
        for (size_t i = 0; i < count; i++) copies[i] = arena_slice(j->page, names[i]);
        page_fill(j, count, copies);
        j->loaded = true;
        j->next_cursor = next;
    }
    if (!busy_end(j)) return;
    if (error) lead(j, false);
    wait_for(j, error ? try_ms(j) : 1);
}

static void page_load(struct janitor *j) {
    busy_begin(j);
    if (j->state.phase == JANITOR_BODIES)
        blob_scan(j->redis, j->state.cursor, on_page, j);
    else
        janitor_scan(j->redis, j->state.cursor, on_page, j);
}

/* The page is complete: the progress is stored. */
static void page_end(struct janitor *j) {
    j->state.cursor = j->next_cursor;
    page_free(j);
    if (j->state.cursor == 0 && ++j->state.phase >= JANITOR_PHASES) {
        j->state.next_ms = clock_wall_ms() + j->every_ms;
        metric_add(&rounds, 1);
        metric_set(&suspects_last, j->suspects);
        metric_set(&unowned_last, j->unowned);
    }
    save(j);
}

/* Steps */

static void on_step_done(struct janitor *j) {
    int failed = j->error;
    arena_destroy(j->step);
    j->step = NULL;
    if (!busy_end(j)) return;
    if (failed) lead(j, false);
    wait_for(j, failed ? try_ms(j) : j->pause_ms);
}

static void step(struct janitor *j) {
    size_t left = j->count - j->at, most = j->state.phase == JANITOR_BODIES ? BODIES_A_STEP : USERS_A_STEP;
    size_t n = left < most ? left : most;
    const struct janitor_item *items = j->items + j->at;
    j->at += n;
    j->error = 0;
    j->step = arena_create();
    j->waiting = 1;
    busy_begin(j);
    if (j->state.phase == JANITOR_BODIES)
        janitor_look_at_bodies(j, n, items);
    else
        janitor_look_at_users(j, n, items);
    janitor_answered(j, 0);
}

static void on_memory(void *ctx, int error, int64_t used, int64_t most) {
    struct janitor *j = ctx;
    bool some = !error && most > 0;
    if (!busy_end(j)) return;
    j->undo_most_s = some && used > most / 100 * UNDO_FULL_PERCENT ? 0
                     : some && used > most / 100 * UNDO_PERCENT    ? 86400
                                                                   : INT64_MAX / 1000000;
    save(j);
}

static void round_begin(struct janitor *j) {
    j->state = (struct janitor_state){.round = j->state.round + 1, .phase = JANITOR_BODIES};
    j->suspects = j->unowned = 0;
    memset(j->remembered, 0, JANITOR_REMEMBERED * sizeof *j->remembered);
    busy_begin(j);
    store_memory(j->redis, on_memory, j);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
    struct janitor *j = ctx;
    (void)fd, (void)what;
    if (j->stopping || j->busy) return;
    if (!j->leading) {
        busy_begin(j);
        janitor_lease(j->redis, j->token, LEASE_MS, on_lease, j);
        return;
    }
    int64_t rest = j->state.next_ms ? j->state.next_ms - clock_wall_ms() : 0;
    if (rest > j->every_ms) rest = 0; /* the clock was set back, or the setting made shorter */
    if (clock_monotonic_us() >= j->renew_us)
        save(j);
    else if (rest > 0)
        wait_for(j, rest < REST_MS ? rest : REST_MS);
    else if (j->state.next_ms || j->state.phase >= JANITOR_PHASES)
        round_begin(j);
    else if (!j->loaded)
        page_load(j);
    else if (j->at < j->count)
        step(j);
    else
        page_end(j);
}

struct janitor *janitor_create(struct mailbox_worker *m) {
    int64_t every_s = config_seconds("POSTBUS_JANITOR_EVERY", "1h", 0, 30 * 86400);
    int64_t grace_s = config_seconds("POSTBUS_JANITOR_GRACE", "1h", 1, 30 * 86400);
    int64_t recount_s = config_seconds("POSTBUS_JANITOR_RECOUNT", "7d", 0, 365 * 86400);
    int64_t pause_ms = config_number("POSTBUS_JANITOR_PAUSE_MS", 50, 1, 60000);
    if (every_s == 0 || m->worker->index != 0) return NULL;
    struct janitor *j = memory_alloc(sizeof *j);
    *j = (struct janitor){.m = m,
                          .redis = m->worker->redis,
                          .every_ms = every_s * 1000,
                          .grace_ms = grace_s * 1000,
                          .recount_s = recount_s,
                          .undo_most_s = INT64_MAX / 1000000,
                          .step_done = on_step_done,
                          .pause_ms = (int)pause_ms};
    ulid_create(j->token);
    j->remembered = memory_alloc(JANITOR_REMEMBERED * sizeof *j->remembered);
    j->timer = event_new(m->worker->base, -1, 0, on_timer, j);
    if (!j->timer) memory_exhausted();
    wait_for(j, try_ms(j) / 10);
    return j;
}

static void on_given_up(void *ctx, int error) {
    (void)error; /* the lease then expires */
    busy_end(ctx);
}

void janitor_drain(struct janitor *j) {
    if (!j || j->stopping) return;
    j->stopping = true;
    event_del(j->timer);
    if (!j->leading || !j->m) return;
    busy_begin(j); /* the process waits until the lease is free */
    janitor_give_up(j->redis, j->token, on_given_up, j);
}

void janitor_stop(struct janitor *j) {
    if (!j) return;
    janitor_drain(j);
    j->m = NULL;
    if (!j->busy) janitor_free(j);
}
