#include "services/imapd/view/snapshot.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/imapd/limits.h"

enum { BUCKETS = 1024 };

struct list {
    struct snapshot *first, *last;
};

struct snapshot {
    struct snapshots *all; /* NULL after the worker's end */
    char *owner, *name;
    uint32_t folder_id;
    struct snapshot *bucket_next;
    struct list *list; /* all->used in the order of looked_us, or all->unused in the order of unused_us */
    struct snapshot *previous, *next;
    struct snapshot_viewer *viewers;
    int watchers;
    struct version *now;
    uint32_t recent;
    bool looking;
    bool stale; /* since the beginning of the last look, an event arrived */
    bool gone;
    int64_t looked_us, unused_us;
    struct snapshot_look *waiting, *waiting_next; /* for the running look, and for the one after it */
};

struct snapshots {
    struct redis *redis;
    struct snapshot *buckets[BUCKETS];
    struct list used, unused;
    size_t unused_count, unused_records;
};

/* The lists */

static void list_add(struct list *l, struct snapshot *s) {
    s->list = l;
    s->previous = l->last;
    s->next = NULL;
    *(l->last ? &l->last->next : &l->first) = s;
    l->last = s;
}

static void list_remove(struct snapshot *s) {
    *(s->previous ? &s->previous->next : &s->list->first) = s->next;
    *(s->next ? &s->next->previous : &s->list->last) = s->previous;
    s->list = NULL;
}

static struct snapshot **bucket_of(struct snapshots *all, struct slice owner) {
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < owner.n; i++) h = (h ^ (unsigned char)owner.p[i]) * 1099511628211u;
    return &all->buckets[h % BUCKETS];
}

struct snapshots *snapshots_create(struct redis *r) {
    struct snapshots *all = memory_alloc(sizeof *all);
    all->redis = r;
    return all;
}

static size_t records_of(const struct snapshot *s) { return s->now ? s->now->count : 0; }

static void snapshot_free(struct snapshot *s) {
    version_release(s->now);
    free(s->owner);
    free(s->name);
    free(s);
}

static void destroy(struct snapshot *s) {
    struct snapshot **at = bucket_of(s->all, slice_of(s->owner));
    while (*at != s) at = &(*at)->bucket_next;
    *at = s->bucket_next;
    list_remove(s);
    s->all = NULL;
    if (!s->looking) snapshot_free(s); /* otherwise with the answer */
}

/* One that nobody views. */
static void forget(struct snapshot *s) {
    s->all->unused_count--; // NOLINT(clang-analyzer-core.NullDereference): it is in a list, so it has one
    s->all->unused_records -= records_of(s);
    destroy(s);
}

void snapshots_destroy(struct snapshots *all) {
    while (all->used.first) destroy(all->used.first);
    while (all->unused.first) destroy(all->unused.first);
    free(all);
}

/* Looking */

static void look(struct snapshot *s);

static void tell_watchers(struct snapshot *s) {
    for (struct snapshot_viewer *v = s->viewers; v; v = v->next)
        if (v->watching) v->news(v->ctx);
}

static void become(struct snapshot *s, struct version *now) {
    version_release(s->now);
    s->now = now;
}

static void keep_unused(struct snapshot *s);

static void on_sync(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                    const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct snapshot *s = ctx;
    struct snapshot_look *waiting = s->waiting;
    bool news = false;
    if (!s->all) {
        snapshot_free(s);
        return;
    }
    s->waiting = NULL;
    if (!error) {
        news = !s->now || full || count || vanished_count || folder->highestmodseq > s->now->modseq;
        if (news) become(s, version_after(s->now, folder, full, count, records, vanished_count, vanished));
        if (!s->name || !slice_is(folder->name, s->name)) {
            free(s->name);
            s->name = memory_copy(folder->name);
        }
    } else if (error == STORE_NOT_FOUND) {
        s->gone = news = true;
    } else {
        s->stale = true; /* the clock looks again */
    }
    while (waiting) {                               /* viewers may leave meanwhile: s->looking keeps s */
        struct snapshot_look *next = waiting->next; /* done may free it */
        waiting->done(waiting->ctx, error);
        waiting = next;
    }
    if (news) tell_watchers(s);
    s->looking = false;
    if (!s->viewers)
        keep_unused(s);
    else if (!s->gone && (s->waiting_next || (s->stale && s->watchers && !error)))
        look(s);
}

static void look(struct snapshot *s) {
    s->waiting = s->waiting_next;
    s->waiting_next = NULL;
    s->looking = true;
    s->stale = false;
    s->looked_us = clock_monotonic_us();
    if (s->list == &s->all->used) { /* the last one of those looked at */
        list_remove(s);
        list_add(&s->all->used, s);
    }
    mailbox_sync(s->all->redis, slice_of(s->owner), s->folder_id, s->now ? s->now->modseq : 0, on_sync, s);
}

void snapshot_look(struct snapshot *s, struct snapshot_look *wish) {
    wish->next = s->waiting_next;
    s->waiting_next = wish;
    if (!s->looking) look(s);
}

void snapshots_news(struct snapshots *all, struct slice owner, uint32_t folder_id, uint64_t modseq) {
    for (struct snapshot *s = *bucket_of(all, owner); s; s = s->bucket_next) {
        if (!s->viewers || s->gone || (folder_id && s->folder_id != folder_id) || !slice_is(owner, s->owner)) continue;
        if (folder_id && modseq && s->now && s->now->modseq >= modseq) continue;
        s->stale = true;
        if (s->watchers && !s->looking) look(s);
    }
}

void snapshots_clock(struct snapshots *all, int64_t now_us) {
    for (struct snapshot *s = all->used.first, *next; s; s = next) {
        int64_t since = now_us - s->looked_us;
        next = s->next;
        if (since < (int64_t)LIMIT_RELOOK_S * 1000000) break;
        if (s->looking || s->gone || (!s->stale && since < (int64_t)LIMIT_RESYNC_S * 1000000)) continue;
        s->stale = true;
        if (s->watchers) look(s);
    }
    while (all->unused.first && now_us - all->unused.first->unused_us > (int64_t)LIMIT_UNUSED_FOLDER_S * 1000000)
        forget(all->unused.first);
}

/* Viewers */

static struct snapshot *find(struct snapshots *all, struct slice owner, uint32_t folder_id) {
    struct snapshot *s = *bucket_of(all, owner);
    while (s && (s->folder_id != folder_id || s->gone || !slice_is(owner, s->owner))) s = s->bucket_next;
    return s;
}

void snapshot_join(struct snapshots *all, struct slice owner, uint32_t folder_id, struct snapshot_viewer *viewer) {
    struct snapshot *s = find(all, owner, folder_id);
    if (!s) {
        struct snapshot **bucket = bucket_of(all, owner);
        s = memory_alloc(sizeof *s);
        s->all = all;
        s->owner = memory_copy(owner);
        s->folder_id = folder_id;
        s->bucket_next = *bucket;
        *bucket = s;
        list_add(&all->used, s);
    } else if (s->list == &all->unused) {
        all->unused_count--;
        all->unused_records -= records_of(s);
        list_remove(s);
        list_add(&all->used, s);
    }
    viewer->snapshot = s;
    viewer->watching = false;
    viewer->previous = NULL;
    viewer->next = s->viewers;
    if (viewer->next) viewer->next->previous = viewer;
    s->viewers = viewer;
}

/* Keeps it for the next viewer, as far as there is room. */
static void keep_unused(struct snapshot *s) {
    struct snapshots *all = s->all;
    if (s->list == &all->unused) return;
    if (s->gone || !s->now) {
        destroy(s);
        return;
    }
    s->stale = true; /* no event arrives any more */
    s->unused_us = clock_monotonic_us();
    list_remove(s);
    list_add(&all->unused, s);
    all->unused_count++;
    all->unused_records += records_of(s);
    while (all->unused_count > LIMIT_UNUSED_FOLDERS || all->unused_records > LIMIT_UNUSED_RECORDS)
        forget(all->unused.first); // NOLINT(clang-analyzer-unix.Malloc): it is unlinked
}

void snapshot_leave(struct snapshot_viewer *viewer) {
    struct snapshot *s = viewer->snapshot;
    if (!s) return;
    snapshot_watch(viewer, false);
    *(viewer->previous ? &viewer->previous->next : &s->viewers) = viewer->next;
    if (viewer->next) viewer->next->previous = viewer->previous;
    viewer->snapshot = NULL;
    if (!s->viewers && !s->looking) keep_unused(s); /* otherwise at the end of the look */
}

void snapshot_watch(struct snapshot_viewer *viewer, bool watching) {
    if (viewer->watching == watching || !viewer->snapshot) return;
    viewer->watching = watching;
    viewer->snapshot->watchers += watching ? 1 : -1;
}

/* What is known */

struct version *snapshot_now(const struct snapshot *s) { return s->now; }
void snapshot_suspect(struct snapshot *s) { s->stale = true; }
bool snapshot_is_stale(const struct snapshot *s) { return s->stale; }
bool snapshot_is_gone(const struct snapshot *s) { return s->gone; }
struct slice snapshot_name(const struct snapshot *s) { return slice_of(s->name ? s->name : ""); }
struct slice snapshot_owner(const struct snapshot *s) { return slice_of(s->owner); }
uint32_t snapshot_folder(const struct snapshot *s) { return s->folder_id; }

uint32_t snapshot_recent(const struct snapshot *s) { return s->recent; }

void snapshot_set_recent(struct snapshot *s, uint32_t bound) {
    if (bound > s->recent) s->recent = bound;
}

/* Whether changes with these modseqs, all of one viewer, are all that happened after the known
 * state: then this state is known to be the store's. */
static bool follows(const struct snapshot *s, size_t count, uint64_t lowest, uint64_t highest) {
    return lowest == s->now->modseq + 1 && highest - lowest + 1 == count;
}

void snapshot_learn_records(struct snapshot *s, size_t count, const struct mailbox_record records[]) {
    uint64_t lowest = UINT64_MAX, highest = 0;
    if (!count || !s->now) return;
    for (size_t i = 0; i < count; i++) {
        if (records[i].modseq < lowest) lowest = records[i].modseq;
        if (records[i].modseq > highest) highest = records[i].modseq;
    }
    bool all = follows(s, count, lowest, highest);
    become(s, version_with_records(s->now, false, all ? highest : s->now->modseq, count, records));
    tell_watchers(s);
}

void snapshot_learn_removed(struct snapshot *s, size_t count, const uint32_t uids[], uint64_t modseq) {
    size_t known = 0;
    if (!count || !s->now) return;
    for (size_t i = 0; i < count; i++) known += version_find(s->now, uids[i], NULL) != NULL;
    bool all = known == count && modseq >= count && follows(s, count, modseq - count + 1, modseq);
    become(s, version_without(s->now, all ? modseq : s->now->modseq, count, uids));
    tell_watchers(s);
}
