#include "services/imapd/syntax/set.h"

#include <stdlib.h>

#include "services/imapd/limits.h"

static bool take_number(struct parser *p, uint32_t *n) {
    if (parse_char(p, '*')) {
        *n = UINT32_MAX;
        return true;
    }
    if (!parse_u32(p, n)) return false;
    if (*n == UINT32_MAX) *n = UINT32_MAX - 1; /* a number, not "*"; no message has either */
    return *n > 0;
}

bool parse_set(struct parser *p, struct set *set) {
    struct parser before = *p;
    size_t room = 1;
    *set = (struct set){0};
    if (parse_char(p, '$')) {
        set->saved = true;
        return true;
    }
    for (const char *q = p->p; q < p->end && strchr("0123456789:*,", *q) && *q; q++) room += *q == ',';
    if (room > LIMIT_SET_RANGES) return false;
    set->ranges = arena_alloc(p->arena, room * sizeof *set->ranges);
    do {
        uint32_t first, last;
        if (!take_number(p, &first)) goto bad;
        last = first;
        if (parse_char(p, ':') && !take_number(p, &last)) goto bad;
        set->ranges[set->count++] = (struct range){first < last ? first : last, first < last ? last : first};
    } while (parse_char(p, ','));
    return true;
bad:
    *p = before;
    return false;
}

static int by_first(const void *a, const void *b) {
    const struct range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

void set_resolve(struct set *set, uint32_t largest) {
    for (size_t i = 0; i < set->count; i++) {
        struct range *r = &set->ranges[i];
        if (r->last == UINT32_MAX) r->last = largest;
        if (r->first == UINT32_MAX) r->first = largest;
        if (r->first > r->last) *r = (struct range){r->last, r->first};
    }
    if (set->count) qsort(set->ranges, set->count, sizeof *set->ranges, by_first);
    size_t n = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (n && set->ranges[i].first <= set->ranges[n - 1].last) {
            if (set->ranges[i].last > set->ranges[n - 1].last) set->ranges[n - 1].last = set->ranges[i].last;
        } else {
            set->ranges[n++] = set->ranges[i];
        }
    }
    set->count = n;
}

bool set_has(const struct set *set, uint32_t number) {
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (set->ranges[mid].last < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low < set->count && set->ranges[low].first <= number;
}

static int by_number(const void *a, const void *b) {
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

void numbers_sort(size_t count, uint32_t numbers[]) {
    if (count > 1) qsort(numbers, count, sizeof *numbers, by_number);
}

void set_write(struct buf *out, size_t count, const uint32_t numbers[]) {
    for (size_t i = 0; i < count;) {
        size_t j = i;
        while (j + 1 < count && numbers[j + 1] == numbers[j] + 1) j++;
        buf_printf(out, i ? ",%u" : "%u", numbers[i]);
        if (j > i) buf_printf(out, ":%u", numbers[j]);
        i = j + 1;
    }
}
