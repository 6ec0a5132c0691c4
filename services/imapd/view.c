#include "services/imapd/view.h"

#include <stdlib.h>

void view_free(struct view *v) {
    free(v->records);
    free(v->fetched);
    for (size_t i = 0; i < v->keyword_count; i++) free(v->keywords[i]);
    *v = (struct view){0};
}

bool view_take_folder(struct view *v, const struct mailbox_folder *folder) {
    bool changed = v->keyword_count != folder->keyword_count;
    v->folder_id = folder->id;
    v->uidvalidity = folder->uidvalidity;
    v->uidnext = folder->uidnext;
    v->modseq = folder->highestmodseq;
    for (size_t i = 0; i < folder->keyword_count && !changed; i++)
        changed = !slice_is(folder->keywords[i], v->keywords[i]);
    if (!changed) return false;
    for (size_t i = 0; i < v->keyword_count; i++) free(v->keywords[i]);
    v->keyword_count = folder->keyword_count;
    for (size_t i = 0; i < v->keyword_count; i++) v->keywords[i] = memory_copy(folder->keywords[i]);
    return true;
}

size_t view_lower(const struct view *v, uint32_t uid) {
    size_t low = 0, high = v->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (v->records[mid].uid < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct mailbox_record *view_find(const struct view *v, uint32_t uid) {
    size_t at = view_lower(v, uid);
    return at < v->count && v->records[at].uid == uid ? &v->records[at] : NULL;
}

void view_reserve(struct view *v, size_t count) {
    if (count <= v->room) return;
    v->room = count > v->room + v->room / 2 + 64 ? count : v->room + v->room / 2 + 64;
    v->records = memory_resize(v->records, v->room * sizeof *v->records);
    v->fetched = memory_resize(v->fetched, v->room * sizeof *v->fetched);
}

void view_append(struct view *v, const struct mailbox_record *record) {
    view_reserve(v, v->count + 1);
    v->fetched[v->count] = false;
    v->records[v->count++] = *record;
}

void view_remove(struct view *v, size_t count, const uint32_t gone[],
                 void (*told)(void *ctx, size_t sequence, uint32_t uid), void *ctx) {
    size_t kept = 0, next = 0;
    for (size_t i = 0; i < v->count; i++) {
        while (next < count && gone[next] < v->records[i].uid) next++;
        if (next < count && gone[next] == v->records[i].uid) {
            if (told) told(ctx, kept + 1, v->records[i].uid);
        } else {
            v->fetched[kept] = v->fetched[i];
            v->records[kept++] = v->records[i];
        }
    }
    v->count = kept;
}
