#include "services/imapd/view/version.h"

#include <stdlib.h>

enum { CHUNK = 128, CHUNK_SMALL = CHUNK / 4 };

/* Keywords */

static struct keywords *keywords_create(const struct mailbox_folder *folder) {
    struct keywords *k = memory_alloc(sizeof *k + folder->keyword_count * sizeof *k->names);
    k->references = 1;
    k->generation = folder->keyword_generation;
    k->count = folder->keyword_count;
    for (size_t i = 0; i < k->count; i++) k->names[i] = memory_copy(folder->keywords[i]);
    return k;
}

static bool keywords_are(const struct keywords *k, const struct mailbox_folder *folder) {
    if (k->count != folder->keyword_count || k->generation != folder->keyword_generation) return false;
    for (size_t i = 0; i < k->count; i++)
        if (!slice_is(folder->keywords[i], k->names[i])) return false;
    return true;
}

static struct keywords *keywords_hold(struct keywords *k) {
    k->references++;
    return k;
}

static void keywords_release(struct keywords *k) {
    if (--k->references) return;
    for (size_t i = 0; i < k->count; i++) free(k->names[i]);
    free(k);
}

/* References */

static void chunk_release(struct chunk *c) {
    if (--c->references == 0) free(c);
}

struct version *version_hold(struct version *v) {
    v->references++;
    return v;
}

void version_release(struct version *v) {
    if (!v || --v->references) return;
    for (size_t i = 0; i < v->part_count; i++) chunk_release(v->parts[i].chunk);
    keywords_release(v->keywords);
    free(v);
}

/* Building: messages in uid order, and whole chunks of another version */

struct builder {
    struct chunk **chunks;
    size_t count, room;
    uint32_t open_count;
    struct mailbox_record open[CHUNK];
};

static void add_chunk(struct builder *b, struct chunk *c) {
    if (b->count == b->room) {
        b->room = b->room * 2 + 8;
        b->chunks = memory_resize(b->chunks, b->room * sizeof(struct chunk *));
    }
    b->chunks[b->count++] = c;
}

static void close_chunk(struct builder *b) {
    if (!b->open_count) return;
    struct chunk *c = memory_alloc(sizeof *c + b->open_count * sizeof *c->records);
    c->references = 1;
    c->count = b->open_count;
    memcpy(c->records, b->open, b->open_count * sizeof *c->records);
    b->open_count = 0;
    add_chunk(b, c);
}

static void add_record(struct builder *b, const struct mailbox_record *r) {
    b->open[b->open_count++] = *r;
    if (b->open_count == CHUNK) close_chunk(b);
}

/* A whole chunk: shared, unless that would leave small ones. */
static void add_shared(struct builder *b, struct chunk *c) {
    if (c->count < CHUNK_SMALL || (b->open_count && b->open_count < CHUNK_SMALL)) {
        for (uint32_t i = 0; i < c->count; i++) add_record(b, &c->records[i]);
        return;
    }
    close_chunk(b);
    c->references++;
    add_chunk(b, c);
}

/* Takes a reference of keywords. */
static struct version *build(struct builder *b, uint32_t uidvalidity, uint32_t uidnext, uint64_t modseq,
                             struct keywords *keywords) {
    close_chunk(b);
    struct version *v = memory_alloc(sizeof *v + b->count * sizeof *v->parts);
    v->references = 1;
    v->uidvalidity = uidvalidity;
    v->uidnext = uidnext;
    v->modseq = modseq;
    v->keywords = keywords;
    v->part_count = b->count;
    for (size_t i = 0; i < b->count; i++) {
        v->parts[i] = (struct version_part){b->chunks[i], v->count};
        v->count += b->chunks[i]->count;
    }
    free(b->chunks);
    free(b);
    return v;
}

static struct builder *builder_create(void) { return memory_alloc(sizeof(struct builder)); }

static uint32_t last_of(const struct chunk *c) { return c->records[c->count - 1].uid; }

/* Adds `before` with these changes: newer records of its messages, messages after its last one if
 * `extend`, and removals. */
static void add_changed(struct builder *b, const struct version *before, bool extend, size_t count,
                        const struct mailbox_record records[], size_t gone_count, const uint32_t gone[]) {
    size_t next = 0, removed = 0;
    for (size_t p = 0; p < before->part_count; p++) {
        struct chunk *c = before->parts[p].chunk;
        uint32_t first = c->records[0].uid, last = last_of(c);
        while (next < count && records[next].uid < first) next++;
        while (removed < gone_count && gone[removed] < first) removed++;
        bool touched =
            (next < count && records[next].uid <= last) || (removed < gone_count && gone[removed] <= last) ||
            (extend && p + 1 == before->part_count && c->count < CHUNK && count && records[count - 1].uid > last);
        if (!touched) {
            add_shared(b, c);
            continue;
        }
        for (uint32_t i = 0; i < c->count; i++) {
            const struct mailbox_record *r = &c->records[i];
            while (removed < gone_count && gone[removed] < r->uid) removed++;
            if (removed < gone_count && gone[removed] == r->uid) continue;
            while (next < count && records[next].uid < r->uid) next++;
            bool newer = next < count && records[next].uid == r->uid && records[next].modseq >= r->modseq;
            add_record(b, newer ? &records[next] : r);
        }
    }
    uint32_t last = version_last_uid(before);
    for (; extend && next < count; next++)
        if (records[next].uid > last) add_record(b, &records[next]);
}

struct version *version_after(const struct version *before, const struct mailbox_folder *folder, bool full,
                              size_t count, const struct mailbox_record records[], size_t vanished_count,
                              const uint32_t vanished[]) {
    struct builder *b = builder_create();
    struct keywords *keywords =
        before && keywords_are(before->keywords, folder) ? keywords_hold(before->keywords) : keywords_create(folder);
    if (full || !before)
        for (size_t i = 0; i < count; i++) add_record(b, &records[i]);
    else
        add_changed(b, before, true, count, records, vanished_count, vanished);
    uint64_t modseq = folder->highestmodseq;
    if (before && before->modseq > modseq) modseq = before->modseq; /* learned while the answer was on its way */
    return build(b, folder->uidvalidity, folder->uidnext, modseq, keywords);
}

struct version *version_with_records(const struct version *before, bool own, uint64_t modseq, size_t count,
                                     const struct mailbox_record records[]) {
    struct builder *b = builder_create();
    add_changed(b, before, false, count, records, 0, NULL);
    struct version *v = build(b, before->uidvalidity, before->uidnext, modseq, keywords_hold(before->keywords));
    v->own = own;
    return v;
}

struct version *version_without(const struct version *before, uint64_t modseq, size_t count, const uint32_t uids[]) {
    struct builder *b = builder_create();
    add_changed(b, before, false, 0, NULL, count, uids);
    return build(b, before->uidvalidity, before->uidnext, modseq, keywords_hold(before->keywords));
}

/* Merging and comparing: two places that advance in uid order, chunks that are shared at once */

static struct chunk *chunk_at(const struct version *v, struct place p) {
    return p.part < v->part_count ? v->parts[p.part].chunk : NULL;
}

static void advance(const struct version *v, struct place *p) {
    if (++p->at == v->parts[p->part].chunk->count) *p = (struct place){p->part + 1, 0};
}

struct version *version_merge(struct version *told, struct version *now, bool keep_gone) {
    struct place t = {0}, n = {0};
    bool differs = false; /* from now */
    if (told == now || (!told->own && !keep_gone)) return version_hold(now);
    struct builder *b = builder_create();
    for (;;) {
        struct chunk *tc = chunk_at(told, t), *nc = chunk_at(now, n);
        if (!tc && !nc) break;
        if (tc == nc && !t.at && !n.at) {
            add_shared(b, nc);
            t.part++;
            n.part++;
            continue;
        }
        const struct mailbox_record *tr = tc ? &tc->records[t.at] : NULL, *nr = nc ? &nc->records[n.at] : NULL;
        if (tr && (!nr || tr->uid < nr->uid)) {
            if (keep_gone) {
                add_record(b, tr);
                differs = true;
            }
            advance(told, &t);
            continue;
        }
        bool both = tr && tr->uid == nr->uid, older = both && nr->modseq < tr->modseq;
        add_record(b, older ? tr : nr);
        differs |= older;
        if (both) advance(told, &t);
        advance(now, &n);
    }
    struct version *merged = build(b, now->uidvalidity, now->uidnext, now->modseq, keywords_hold(now->keywords));
    merged->own = true;
    if (differs) return merged;
    version_release(merged);
    return version_hold(now);
}

bool difference_next(struct difference *d, size_t *work) {
    for (; *work; (*work)--) {
        struct chunk *tc = chunk_at(d->told, d->t), *nc = chunk_at(d->now, d->n);
        if (!tc && !nc) return false;
        if (tc == nc && !d->t.at && !d->n.at) {
            d->kept += tc->count;
            d->t.part++;
            d->n.part++;
            continue;
        }
        d->from = tc ? &tc->records[d->t.at] : NULL;
        d->to = nc ? &nc->records[d->n.at] : NULL;
        if (d->from && d->to && d->from->uid != d->to->uid) *(d->from->uid < d->to->uid ? &d->to : &d->from) = NULL;
        if (d->from) advance(d->told, &d->t);
        if (d->to) advance(d->now, &d->n);
        if (!d->from) return true; /* the caller counts it */
        if (!d->to) {
            d->gone++;
            return true;
        }
        d->kept++;
        if (d->to->modseq > d->from->modseq) return true;
    }
    return false;
}

/* Finding */

size_t version_lower(const struct version *v, uint32_t uid) {
    size_t low = 0, high = v->part_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (last_of(v->parts[mid].chunk) < uid)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == v->part_count) return v->count;
    const struct chunk *c = v->parts[low].chunk;
    uint32_t first = 0, end = c->count;
    while (first < end) {
        uint32_t mid = first + (end - first) / 2;
        if (c->records[mid].uid < uid)
            first = mid + 1;
        else
            end = mid;
    }
    return v->parts[low].start + first;
}

static const struct version_part *part_of(const struct version *v, size_t index) {
    size_t low = 0, high = v->part_count;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (v->parts[mid].start <= index)
            low = mid;
        else
            high = mid;
    }
    return &v->parts[low];
}

const struct mailbox_record *version_at(const struct version *v, size_t index) {
    const struct version_part *p = part_of(v, index);
    return &p->chunk->records[index - p->start];
}

size_t version_uids(const struct version *v, size_t index, size_t max, uint32_t uids[]) {
    const struct version_part *p = part_of(v, index);
    size_t from = index - p->start, n = p->chunk->count - from;
    if (n > max) n = max;
    for (size_t i = 0; i < n; i++) uids[i] = p->chunk->records[from + i].uid;
    return n;
}

const struct mailbox_record *version_find(const struct version *v, uint32_t uid, size_t *index) {
    size_t at = version_lower(v, uid);
    if (at == v->count) return NULL;
    const struct mailbox_record *r = version_at(v, at);
    if (r->uid != uid) return NULL;
    if (index) *index = at;
    return r;
}

uint32_t version_last_uid(const struct version *v) {
    return v->part_count ? last_of(v->parts[v->part_count - 1].chunk) : 0;
}
