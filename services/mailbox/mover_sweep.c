/* The sweep: room of deleted bodies is given back, a segment at a time. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/mailbox/mover.h"

static struct metric removed =
    METRIC_COUNTER("postbus_mailbox_segments_removed_total", "Segments without bodies, removed from the cold tier");
static struct metric compacted =
    METRIC_COUNTER("postbus_mailbox_segments_compacted_total", "Segments of which the rest was moved to a new one");
static struct metric missing = METRIC_COUNTER("postbus_mailbox_segments_missing_total",
                                              "Looks at segments that are in the list and not in the cold tier");

static void next(struct mover *v, bool stays) {
    v->sweep.next += stays;
    mover_wait(v, 5);
}

static void failed(struct mover *v) {
    v->sweep.running = false;
    v->sweep.next_ms = clock_wall_ms() + 5000;
    mover_wait(v, 1000);
}

static void on_left(void *ctx, int error) {
    struct mover *v = ctx;
    if (error) {
        failed(v);
        return;
    }
    metric_add(&removed, 1);
    next(v, false);
}

static void on_removed(void *ctx, int error) {
    struct mover *v = ctx;
    if (error)
        failed(v);
    else
        cold_segment_leave(v->redis, v->sweep.tier, v->sweep.segment, on_left, v);
}

static void on_compacted(struct mover *v) {
    metric_add(&compacted, 1);
    next(v, true); /* the next sweep removes it: a reader may still be on its way to it */
}

static void looked(struct mover *v) {
    struct sweep *s = &v->sweep;
    if (--s->waiting) return;
    if (s->kept == 0) {
        cold_remove(v->cold, s->tier, s->segment, on_removed, v);
    } else if (s->live < s->all / 2) {
        for (int i = 0; i < s->count; i++) {
            char text[COLD_PLACE_BYTES];
            struct cold_place place = {.tier = s->tier, .offset = s->entries[i].offset, .length = s->entries[i].length};
            memcpy(place.segment, s->segment, ULID_BYTES);
            if (s->sizes[i] != UINT64_MAX) batch_add(v, s->entries[i].id, cold_place_write(&place, text), s->sizes[i]);
        }
        batch_move(v, on_compacted);
    } else {
        next(v, true);
    }
}

struct look {
    struct mover *mover;
    int at;
};

static void on_where(void *ctx, int error, uint64_t size, struct slice text) {
    struct look *l = ctx;
    struct sweep *s = &l->mover->sweep;
    struct cold_place place;
    struct mover *v = l->mover;
    const struct segment_entry *e = &s->entries[l->at];
    if (error && error != STORE_NOT_FOUND) { /* unknown: it counts as used */
        s->kept++;
        s->live = s->all;
    } else if (!error && cold_place_read(text, &place) == 0 && place.tier == s->tier &&
               strcmp(place.segment, s->segment) == 0 && place.offset == e->offset) {
        s->kept++;
        s->live += e->length;
        s->sizes[l->at] = size;
    }
    free(l);
    looked(v);
}

static void on_head(void *ctx, int error, struct slice bytes) {
    struct mover *v = ctx;
    struct sweep *s = &v->sweep;
    if (error && error != STORE_NOT_FOUND) {
        failed(v);
        return;
    }
    s->count = error ? -1 : segment_head_read(bytes, s->entries);
    if (s->count < 0) {
        metric_add(&missing, 1);
        log_error("a segment is missing in the cold tier: its bodies are lost unless it comes back", "segment",
                  s->segment, NULL);
        next(v, true);
        return;
    }
    s->live = s->all = s->kept = 0;
    for (int i = 0; i < s->count; i++) s->all += s->entries[i].length;
    s->waiting = 1;
    for (int i = 0; i < s->count; i++) {
        struct look *l = memory_alloc(sizeof *l);
        *l = (struct look){v, i};
        s->sizes[i] = UINT64_MAX;
        s->waiting++;
        blob_where(v->redis, slice_of(s->entries[i].id), on_where, l);
    }
    looked(v);
}

static bool name_read(struct sweep *s, struct slice name) {
    if (name.n != ULID_LENGTH + 2 || !ulid_is_valid(slice_skip(name, 2))) return false;
    s->tier = *name.p == 'd' ? COLD_DIRECTORY : COLD_S3;
    memcpy(s->segment, name.p + 2, ULID_LENGTH);
    s->segment[ULID_LENGTH] = 0;
    return true;
}

static void on_segment(void *ctx, int error, size_t count, const struct slice names[]) {
    struct mover *v = ctx;
    struct sweep *s = &v->sweep;
    if (error) {
        failed(v);
        return;
    }
    if (count == 0) {
        s->running = false;
        s->next_ms = clock_wall_ms() + v->sweep_ms;
        mover_wait(v, 100);
        return;
    }
    if (!name_read(s, names[0]))
        next(v, true);
    else
        cold_read(v->cold, s->tier, s->segment, 0, SEGMENT_HEAD_MAX, on_head, v);
}

/* Those of a mover that was killed before they were on disk. */
static void on_unwritten(void *ctx, int error, size_t count, const struct slice names[]) {
    struct mover *v = ctx;
    struct sweep *s = &v->sweep;
    if (error)
        failed(v);
    else if (count && name_read(s, names[0]))
        cold_remove(v->cold, s->tier, s->segment, on_removed, v);
    else
        cold_segments(v->redis, true, clock_wall_ms() - v->grace_ms, s->next, 1, on_segment, v);
}

void sweep_step(struct mover *v) {
    struct sweep *s = &v->sweep;
    if (!s->running) {
        s->running = true;
        s->next = 0;
    }
    cold_segments(v->redis, false, clock_wall_ms() - v->grace_ms, 0, 1, on_unwritten, v);
}
