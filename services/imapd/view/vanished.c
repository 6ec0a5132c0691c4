/* VANISHED (EARLIER) of QRESYNC (RFC 7162 §3.2.10.1). */
#include <stdlib.h>

#include "services/imapd/imapd.h"

static void write_range(struct buf *out, uint32_t first, uint32_t last) {
    if (first > last) return;
    buf_printf(out, out->n ? ",%u" : "%u", first);
    if (last > first) buf_printf(out, ":%u", last);
}

/* The log does not reach back far enough: writes all uids that the client may know and that do not
 * exist. */
static void write_gaps(struct buf *out, const struct view *v, const struct set *known) {
    for (size_t i = 0; i < known->count; i++) {
        uint32_t next = known->ranges[i].first, last = known->ranges[i].last;
        if (last >= v->uidnext) last = v->uidnext - 1;
        for (size_t at = view_lower(v, next); at < v->count; at++) {
            uint32_t uid = view_at(v, at)->uid;
            if (uid > last) break;
            if (uid > next) write_range(out, next, uid - 1);
            next = uid + 1;
        }
        write_range(out, next, last);
    }
}

static void write_known(struct buf *out, const struct set *known, size_t count, const uint32_t vanished[]) {
    uint32_t *uids = memory_alloc((count + 1) * sizeof *uids);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (set_has(known, vanished[i])) uids[n++] = vanished[i];
    numbers_sort(n, uids);
    set_write(out, n, uids);
    free(uids);
}

void write_vanished(struct buf *out, const struct view *v, const struct set *known, bool full, size_t count,
                    const uint32_t vanished[]) {
    if (full)
        write_gaps(out, v, known);
    else
        write_known(out, known, count, vanished);
}
