/* Converts a sequence set to uids of the selected folder. */
#include "services/imapd/imapd.h"

int resolve_set(struct session *s, struct set *set, uint32_t **uids, size_t *count) {
    const struct view *v = &s->view;
    size_t n = 0;
    if (set->saved) {
        *uids = arena_alloc(s->arena, (s->saved_count + 1) * sizeof **uids);
        for (size_t i = 0; i < s->saved_count; i++)
            if (view_find(v, s->saved[i])) (*uids)[n++] = s->saved[i];
        *count = n;
        return 0;
    }
    bool star = false;
    for (size_t i = 0; i < set->count; i++) star = star || set->ranges[i].last == UINT32_MAX;
    if (!s->by_uid && !v->count && star) { /* "1:*" in an empty folder: clients use it, and it means
                                              no messages */
        *uids = arena_alloc(s->arena, sizeof **uids);
        *count = 0;
        return 0;
    }
    set_resolve(set, s->by_uid ? (v->count ? v->records[v->count - 1].uid : 0) : (uint32_t)v->count);
    if (!s->by_uid) {
        size_t total = 0;
        for (size_t i = 0; i < set->count; i++) {
            if (set->ranges[i].first == 0 || set->ranges[i].last > v->count) return -2;
            total += set->ranges[i].last - set->ranges[i].first + 1;
        }
        *uids = arena_alloc(s->arena, (total + 1) * sizeof **uids);
        for (size_t i = 0; i < set->count; i++)
            for (uint32_t q = set->ranges[i].first; q <= set->ranges[i].last; q++) (*uids)[n++] = v->records[q - 1].uid;
        *count = n;
        return 0;
    }
    size_t total = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass) *uids = arena_alloc(s->arena, (total + 1) * sizeof **uids);
        for (size_t i = 0; i < set->count; i++)
            for (size_t at = view_lower(v, set->ranges[i].first);
                 at < v->count && v->records[at].uid <= set->ranges[i].last; at++) {
                if (pass)
                    (*uids)[n++] = v->records[at].uid;
                else
                    total++;
            }
    }
    *count = n;
    return 0;
}

int command_set(struct session *s, struct parser *p, uint32_t **uids, size_t *count) {
    struct set set;
    return parse_set(p, &set) ? resolve_set(s, &set, uids, count) : -1;
}
