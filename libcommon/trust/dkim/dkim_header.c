#include "libcommon/trust/dkim/dkim_header.h"

#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/mail/header.h"

/* Sorted instead of hashed, so that no choice of names makes the search slow. */
struct indexed {
    struct slice name, raw;
};

struct header_index {
    size_t count;
    struct indexed *fields; /* by name; fields of one name from the bottom of the message up */
    size_t *taken;          /* for the current signature, at the index of a name's first field: the
                               number of fields already taken */
};

static int compare_names(struct slice a, struct slice b) {
    if (a.n != b.n) return a.n < b.n ? -1 : 1;
    return a.n ? strncasecmp(a.p, b.p, a.n) : 0;
}

static int compare(const void *a, const void *b) {
    const struct indexed *x = a, *y = b;
    int names = compare_names(x->name, y->name);
    return names ? names : x->raw.p > y->raw.p ? -1 : 1;
}

struct header_index *header_index_create(struct slice header) {
    struct header_index *x = memory_alloc(sizeof *x);
    struct header_field f;
    size_t at = 0, room = 0;
    while (header_next(header, &at, &f) == 1) {
        if (x->count == room) x->fields = memory_resize(x->fields, (room = room ? 2 * room : 64) * sizeof *x->fields);
        x->fields[x->count++] = (struct indexed){f.name, f.raw};
    }
    if (x->count) qsort(x->fields, x->count, sizeof *x->fields, compare);
    x->taken = memory_alloc((x->count + 1) * sizeof *x->taken);
    return x;
}

void header_index_destroy(struct header_index *x) {
    if (!x) return;
    free(x->fields);
    free(x->taken);
    free(x);
}

/* The first field of this name, or count. */
static size_t first_of(const struct header_index *x, struct slice name) {
    size_t low = 0, high = x->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_names(x->fields[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < x->count && slice_equal_nocase(x->fields[low].name, name) ? low : x->count;
}

size_t header_index_count(const struct header_index *x, struct slice name) {
    size_t first = first_of(x, name), n = 0;
    while (first + n < x->count && slice_equal_nocase(x->fields[first + n].name, name)) n++;
    return n;
}

/* The next field for a name in h=; NULL: none is left. */
static const struct indexed *take(struct header_index *x, struct slice name, struct slice signature_raw) {
    size_t first = first_of(x, name);
    if (first == x->count) return NULL;
    for (;;) {
        size_t i = first + x->taken[first];
        if (i >= x->count || !slice_equal_nocase(x->fields[i].name, name)) return NULL;
        x->taken[first]++;
        if (x->fields[i].raw.p != signature_raw.p) return &x->fields[i];
    }
}

void dkim_signed_header(struct header_index *x, struct slice h, bool relaxed, struct slice signature_raw,
                        struct buf *out, struct header_coverage *coverage) {
    struct header_coverage seen = {0};
    struct slice name;
    memset(x->taken, 0, x->count * sizeof *x->taken);
    for (bool more = h.n > 0; more;) {
        more = slice_cut(&h, ':', &name);
        const struct indexed *field = take(x, slice_trim(more ? name : h), signature_raw);
        if (field) dkim_canonical_field(field->raw, relaxed, out);
        seen.present += field != NULL;
        seen.absent += field == NULL;
    }
    dkim_field_without_b(signature_raw, relaxed, out);
    if (coverage) *coverage = seen;
}
