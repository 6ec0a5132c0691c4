/* Converts a sequence set to uids of the selected folder. */
#include "services/imapd/imapd.h"

/* The uids of the messages from this index up to before `end`. */
static size_t take_uids(const struct view *v, size_t from, size_t end, uint32_t uids[], size_t n) {
    while (from < end) {
        size_t got = view_uids(v, from, end - from, uids + n);
        n += got;
        from += got;
    }
    return n;
}

/* The index of the first message after this uid. */
static size_t after_uid(const struct view *v, uint32_t uid) {
    return uid == UINT32_MAX ? v->count : view_lower(v, uid + 1);
}

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
    set_resolve(set, s->by_uid ? (view_last_uid(v)) : (uint32_t)v->count);
    if (!s->by_uid) {
        size_t total = 0;
        for (size_t i = 0; i < set->count; i++) {
            if (set->ranges[i].first == 0 || set->ranges[i].last > v->count) return -2;
            total += set->ranges[i].last - set->ranges[i].first + 1;
        }
        *uids = arena_alloc(s->arena, (total + 1) * sizeof **uids);
        for (size_t i = 0; i < set->count; i++)
            n = take_uids(v, set->ranges[i].first - 1, set->ranges[i].last, *uids, n);
        *count = n;
        return 0;
    }
    size_t total = 0;
    for (size_t i = 0; i < set->count; i++)
        total += after_uid(v, set->ranges[i].last) - view_lower(v, set->ranges[i].first);
    *uids = arena_alloc(s->arena, (total + 1) * sizeof **uids);
    for (size_t i = 0; i < set->count; i++)
        n = take_uids(v, view_lower(v, set->ranges[i].first), after_uid(v, set->ranges[i].last), *uids, n);
    *count = n;
    return 0;
}

int command_set(struct session *s, struct parser *p, uint32_t **uids, size_t *count) {
    struct set set;
    return parse_set(p, &set) ? resolve_set(s, &set, uids, count) : -1;
}
