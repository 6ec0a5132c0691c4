#include "services/imapd/view/view.h"

#include <stdlib.h>

#include "services/imapd/limits.h"

void view_tell_keywords(struct view *v, const struct keywords *keywords) {
    v->keyword_generation = keywords->generation;
    v->keyword_count = keywords->count;
    v->keywords = keywords->names;
}

void view_tell(struct view *v, struct version *told) {
    struct version *before = v->told;
    v->told = told;
    v->uidvalidity = told->uidvalidity;
    v->uidnext = told->uidnext;
    v->modseq = told->modseq;
    v->count = told->count;
    view_tell_keywords(v, told->keywords);
    version_release(before);
}

void view_open(struct view *v, bool read_only) {
    v->folder_id = snapshot_folder(v->viewer.snapshot);
    v->read_only = read_only;
    view_tell(v, version_hold(snapshot_now(v->viewer.snapshot)));
}

void view_close(struct view *v) {
    snapshot_leave(&v->viewer);
    version_release(v->told);
    free(v->recent);
    free(v->fetched);
    *v = (struct view){0};
}

bool view_is_behind(const struct view *v) { return v->told && v->told != snapshot_now(v->viewer.snapshot); }

size_t view_lower(const struct view *v, uint32_t uid) { return version_lower(v->told, uid); }

const struct mailbox_record *view_find(const struct view *v, uint32_t uid) { return version_find(v->told, uid, NULL); }

const struct mailbox_record *view_at(const struct view *v, size_t index) { return version_at(v->told, index); }

size_t view_uids(const struct view *v, size_t index, size_t max, uint32_t uids[]) {
    return version_uids(v->told, index, max, uids);
}

size_t view_sequence(const struct view *v, const struct mailbox_record *record) {
    return version_lower(v->told, record->uid) + 1;
}

uint32_t view_last_uid(const struct view *v) { return v->count ? version_last_uid(v->told) : 0; }

static int by_uid(const void *one, const void *other) {
    const struct mailbox_record *a = one, *b = other;
    return (a->uid > b->uid) - (a->uid < b->uid);
}

void view_learn(struct view *v, uint32_t generation, size_t count, const struct mailbox_record records[]) {
    struct snapshot *s = v->viewer.snapshot;
    bool shared = v->told == snapshot_now(s);
    struct mailbox_record *known = memory_alloc((count + 1) * sizeof *known);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (view_knows_flags(v, generation, records[i].flags))
            known[n++] = records[i];
        else
            snapshot_suspect(s);
    }
    qsort(known, n, sizeof *known, by_uid);
    if (n) {
        snapshot_learn_records(s, n, known);
        view_tell(v, shared ? version_hold(snapshot_now(s))
                            : version_with_records(v->told, true, v->told->modseq, n, known));
    }
    free(known);
}

void view_note_recent(struct view *v, uint32_t first, uint32_t last) {
    if (first > last) return;
    if (v->recent_count && v->recent[v->recent_count - 1].last + 1 == first) {
        v->recent[v->recent_count - 1].last = last;
        return;
    }
    if (!v->recent) v->recent = memory_alloc(LIMIT_RECENT_RANGES * sizeof *v->recent);
    if (v->recent_count == LIMIT_RECENT_RANGES)
        memmove(v->recent, v->recent + 1, --v->recent_count * sizeof *v->recent);
    v->recent[v->recent_count++] = (struct range){first, last};
}

bool view_is_recent(const struct view *v, uint32_t uid) {
    for (size_t i = v->recent_count; i > 0 && v->recent[i - 1].last >= uid; i--)
        if (v->recent[i - 1].first <= uid) return true;
    return false;
}

size_t view_count_recent(const struct view *v) {
    size_t n = 0;
    for (size_t i = 0; i < v->recent_count; i++)
        n += view_lower(v, v->recent[i].last + 1) - view_lower(v, v->recent[i].first);
    return n;
}

bool view_mark_fetched(struct view *v, uint32_t uid) {
    size_t low = 0, high = v->fetched_count;
    while (low < high) { /* the first range that ends at or after the uid before this one */
        size_t mid = low + (high - low) / 2;
        if (v->fetched[mid].last < uid - 1)
            low = mid + 1;
        else
            high = mid;
    }
    struct range *r = &v->fetched[low];
    if (low < v->fetched_count && r->first <= uid + 1) {
        if (r->first <= uid && uid <= r->last) return false;
        if (uid < r->first) {
            r->first = uid;
        } else {
            r->last = uid;
            if (low + 1 < v->fetched_count && r[1].first == uid + 1) {
                r->last = r[1].last;
                memmove(r + 1, r + 2, (v->fetched_count - low - 2) * sizeof *r);
                v->fetched_count--;
            }
        }
        return true;
    }
    if (v->fetched_count == LIMIT_FETCHED_RANGES) return false;
    if (v->fetched_count == v->fetched_room) {
        v->fetched_room = v->fetched_room * 2 + 4;
        v->fetched = memory_resize(v->fetched, v->fetched_room * sizeof *v->fetched);
    }
    r = &v->fetched[low];
    memmove(r + 1, r, (v->fetched_count - low) * sizeof *r);
    *r = (struct range){uid, uid};
    v->fetched_count++;
    return true;
}
