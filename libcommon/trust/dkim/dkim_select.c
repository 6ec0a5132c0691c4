/* Selects the signatures of a message that are verified, and the body hashes that they need. */
#include <stdlib.h>

#include "libcommon/mail/domain.h"
#include "libcommon/mail/header.h"
#include "libcommon/trust/dkim/dkim.h"

enum { AUTHORS_MAX = 4, RANKS = 3 };

/* The domains of the From field: any text after an "@" in it. A wrong match (in a display name)
 * only moves a signature forward. */
struct authors {
    size_t count;
    struct slice domains[AUTHORS_MAX];
};

static void find_authors(struct arena *arena, struct slice from, struct authors *out) {
    struct slice before;
    while (out->count < AUTHORS_MAX && slice_cut(&from, '@', &before)) {
        size_t n = 0;
        char name[DOMAIN_BYTES];
        while (n < from.n && !strchr(" \t\r\n>,;()<\"@", from.p[n])) n++;
        if (domain_normalise(slice_head(from, n), name) == 0)
            out->domains[out->count++] = arena_slice(arena, slice_of(name));
    }
}

static bool is_below(struct slice name, struct slice of) {
    return name.n > of.n && name.p[name.n - of.n - 1] == '.' && slice_equal(slice_skip(name, name.n - of.n), of);
}

static bool is_authors(const struct authors *a, struct slice d) {
    for (size_t i = 0; i < a->count; i++)
        if (slice_equal(a->domains[i], d) || is_below(a->domains[i], d) || is_below(d, a->domains[i])) return true;
    return false;
}

static int by_place(const void *a, const void *b) {
    const struct dkim_candidate *x = a, *y = b;
    return x->raw.p < y->raw.p ? -1 : 1;
}

size_t dkim_select(struct arena *arena, struct slice header, struct dkim_candidate out[SIGNATURES_MAX], size_t *total) {
    struct authors authors = {0};
    struct header_field f;
    struct dkim_candidate *ranked = NULL; /* RANKS times SIGNATURES_MAX */
    size_t counts[RANKS] = {0}, at = 0, n = 0;
    *total = 0;
    if (header_find(header, "From", &f)) find_authors(arena, f.value, &authors);
    while (header_next(header, &at, &f) == 1) {
        if (!slice_is_nocase(f.name, "DKIM-Signature")) continue;
        struct dkim_candidate c = {.raw = f.raw};
        if (!ranked) ranked = arena_alloc(arena, (size_t)RANKS * SIGNATURES_MAX * sizeof *ranked);
        c.wrong = dkim_signature_parse(arena, f.value, DKIM_SIGNATURE, &c.signature);
        size_t rank = c.wrong ? 2 : is_authors(&authors, c.signature.d) ? 0 : 1;
        if (counts[rank] < SIGNATURES_MAX) ranked[rank * SIGNATURES_MAX + counts[rank]++] = c;
        ++*total;
    }
    for (size_t rank = 0; rank < RANKS; rank++)
        for (size_t i = 0; i < counts[rank] && n < SIGNATURES_MAX; i++) out[n++] = ranked[rank * SIGNATURES_MAX + i];
    if (n) qsort(out, n, sizeof *out, by_place);
    return n;
}

static void add_kind(struct body_hash_kind kinds[BODY_HASHES_MAX], size_t *count, struct body_hash_kind kind) {
    for (size_t i = 0; i < *count; i++)
        if (kinds[i].relaxed == kind.relaxed && kinds[i].length == kind.length) return;
    if (*count < BODY_HASHES_MAX) kinds[(*count)++] = kind;
}

/* Message signatures of ARC: without c= both kinds are needed (arc.c). */
static void add_message_kinds(struct body_hash_kind kinds[BODY_HASHES_MAX], size_t *count,
                              const struct dkim_signature *s) {
    add_kind(kinds, count, s->body);
    if (s->no_canonicalization) add_kind(kinds, count, (struct body_hash_kind){true, s->body.length});
}

size_t body_hash_wanted(struct slice header, struct body_hash_kind kinds[BODY_HASHES_MAX]) {
    struct arena *arena = arena_create();
    struct dkim_candidate selected[SIGNATURES_MAX];
    struct dkim_signature s, newest = {0};
    struct header_field f;
    size_t count = 0, total, at = 0, n = dkim_select(arena, header, selected, &total);
    /* the newest message signature of ARC decides the result of the chain, so it comes first; the
     * older ones only tell which instance was last valid, so they come last */
    for (int older = 0; older < 2; older++) {
        for (at = 0; header_next(header, &at, &f) == 1;) {
            if (!slice_is_nocase(f.name, "ARC-Message-Signature") ||
                dkim_signature_parse(arena, f.value, DKIM_ARC_MESSAGE, &s))
                continue;
            if (older) add_message_kinds(kinds, &count, &s);
            if (s.instance > newest.instance) newest = s;
        }
        if (older) break;
        if (newest.instance) add_message_kinds(kinds, &count, &newest);
        for (size_t i = 0; i < n; i++)
            if (!selected[i].wrong) add_kind(kinds, &count, selected[i].signature.body);
    }
    arena_destroy(arena);
    return count;
}
