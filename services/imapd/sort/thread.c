#include "services/imapd/sort/thread.h"

#include <stdlib.h>

#include "services/imapd/limits.h"

/* A message, or a dummy: one that is only referred to, or that holds threads of one subject. */
struct node {
    const struct thread_message *message; /* NULL: a dummy */
    struct slice id;
    struct node *parent;       /* NULL: at the top, which the RFC calls the root's child */
    struct node *same_hash;    /* in its bucket */
    struct node **children;    /* sorted, after gather() */
    size_t child_count, place; /* place: the next child to write */
    struct node *top;          /* of its thread, after find_newest() */
    bool has_children;         /* somebody's parent at some time */
    bool dropped;              /* a dummy that was deleted */
    size_t order;              /* in mailbox order; dummies last */
    int64_t newest;
};

struct forest {
    struct arena *arena;
    enum thread_algorithm algorithm;
    struct node **all; /* all that exist */
    size_t count, room, bucket_count, walked;
    struct node **buckets;
};

static size_t bucket_of(const struct forest *f, struct slice id) {
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < id.n; i++) h = (h ^ (unsigned char)id.p[i]) * 1099511628211u;
    return (size_t)(h % f->bucket_count);
}

static struct node *make(struct forest *f, const struct thread_message *m) {
    struct node *n = arena_alloc(f->arena, sizeof *n);
    if (f->count == f->room) {
        struct node **more = arena_alloc(f->arena, (f->room = f->room * 2 + 16) * sizeof *more);
        if (f->count) memcpy(more, f->all, f->count * sizeof *more);
        f->all = more;
    }
    n->message = m;
    n->order = f->count;
    f->all[f->count++] = n;
    return n;
}

static struct node *find(const struct forest *f, struct slice id) {
    struct node *n = f->buckets[bucket_of(f, id)];
    while (n && !slice_equal(n->id, id)) n = n->same_hash;
    return n;
}

static void enter(struct forest *f, struct node *n, struct slice id) {
    struct node **bucket = &f->buckets[bucket_of(f, id)];
    n->id = id;
    n->same_hash = *bucket;
    *bucket = n;
}

/* Whether child is above parent, so that a link would make a loop. When the work for a hostile
 * mailbox exceeds its bound, every link counts as one. */
static bool makes_loop(struct forest *f, const struct node *parent, const struct node *child) {
    if (parent == child) return true;
    if (!child->has_children) return false;
    for (const struct node *n = parent; n; n = n->parent)
        if (n == child || ++f->walked > LIMIT_THREAD_WORK) return true;
    return false;
}

static void link_to(struct forest *f, struct node *parent, struct node *child) {
    if (makes_loop(f, parent, child)) return;
    child->parent = parent;
    parent->has_children = true;
}

/* Step 1 of REFERENCES. */
static void link_message(struct forest *f, struct node *n) {
    const struct thread_message *m = n->message;
    struct node *last = NULL;
    for (size_t i = 0; i < m->reference_count; i++) {
        struct node *one = find(f, m->references[i]);
        if (!one) enter(f, one = make(f, NULL), m->references[i]);
        if (last && !one->parent) link_to(f, last, one); /* an existing link stays */
        last = one;
    }
    n->parent = NULL;
    if (last) link_to(f, last, n);
}

/* Steps 2 and 3: dummies remain only at the top, with two children or more. Nodes are visited once
 * each: what is above a node has been settled before it. */
static void prune(struct forest *f) {
    struct node **path = arena_alloc(f->arena, (f->count + 1) * sizeof *path);
    bool *settled = arena_alloc(f->arena, f->count + 1);
    for (size_t i = 0; i < f->count; i++) {
        size_t depth = 0;
        for (struct node *n = f->all[i]; n && !settled[n->order]; n = n->parent) path[depth++] = n;
        while (depth) {
            struct node *n = path[--depth];
            struct node *above = n->parent;
            /* a dummy that is not at the top is taken out: its own parent has been settled */
            if (above && !above->message && above->parent) n->parent = above->parent;
            settled[n->order] = true;
        }
    }
    for (size_t i = 0; i < f->count; i++) f->all[i]->child_count = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct node *n = f->all[i];
        if (n->message && n->parent) n->parent->child_count++;
    }
    for (size_t i = 0; i < f->count; i++) {
        struct node *n = f->all[i];
        if (!n->message) n->dropped = n->parent || n->child_count < 2;
        if (n->message && n->parent && !n->parent->message && n->parent->child_count < 2) n->parent = NULL;
    }
}

static const struct thread_message *first_of(const struct node *n) {
    return n->message ? n->message : n->children[0]->message;
}

static int64_t date_of(const struct forest *f, const struct node *n) {
    const struct thread_message *m = first_of(n);
    return f->algorithm == THREAD_REFS ? n->newest : m->sent;
}

/* By parent, then by date, then in mailbox order. Dummies have their first child's values, which are
 * known when the tops are sorted. */
static int by_place(const void *left, const void *right, void *ctx) {
    const struct forest *f = ctx;
    const struct node *a = *(struct node *const *)left, *b = *(struct node *const *)right;
    size_t above_a = a->parent ? a->parent->order + 1 : 0, above_b = b->parent ? b->parent->order + 1 : 0;
    if (above_a != above_b) return above_a < above_b ? -1 : 1;
    bool arrival = f->algorithm == THREAD_REFS;
    int64_t x = !a->parent   ? date_of(f, a)
                : a->message ? (arrival ? a->message->arrival : a->message->sent)
                             : 0,
            y = !b->parent   ? date_of(f, b)
                : b->message ? (arrival ? b->message->arrival : b->message->sent)
                             : 0;
    if (x != y) return x < y ? -1 : 1;
    size_t at_a = a->message || !a->child_count ? a->order : a->children[0]->order,
           at_b = b->message || !b->child_count ? b->order : b->children[0]->order;
    return (at_a > at_b) - (at_a < at_b);
}

/* Sorts the nodes below others and gives each its children. */
static void gather(struct forest *f, bool tops_only, struct node ***tops, size_t *top_count) {
    struct node **list = arena_alloc(f->arena, (f->count + 1) * sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        if (!f->all[i]->dropped && (f->all[i]->parent == NULL) == tops_only) list[n++] = f->all[i];
    if (!tops_only)
        for (size_t i = 0; i < f->count; i++) f->all[i]->child_count = 0;
    if (n) qsort_r(list, n, sizeof *list, by_place, f);
    for (size_t i = 0; i < n && !tops_only; i++) {
        struct node *parent = list[i]->parent;
        if (!parent->child_count++) parent->children = &list[i];
    }
    if (tops_only) *tops = list, *top_count = n;
}

/* REFS: the newest message of each thread. */
static void find_newest(struct forest *f) {
    struct node **path = arena_alloc(f->arena, (f->count + 1) * sizeof *path);
    for (size_t i = 0; i < f->count; i++) f->all[i]->newest = INT64_MIN;
    for (size_t i = 0; i < f->count; i++) {
        size_t depth = 0;
        struct node *n = f->all[i];
        for (; !n->top && n->parent; n = n->parent) path[depth++] = n;
        struct node *top = n->top ? n->top : n;
        while (depth) path[--depth]->top = top;
        const struct thread_message *m = f->all[i]->message;
        if (m && m->arrival > top->newest) top->newest = m->arrival;
    }
}

/* A second table, of subjects; the ids are not needed any more. */
static struct node **subject_place(struct forest *f, struct node **table, struct slice subject) {
    size_t at = bucket_of(f, subject);
    while (table[at] && !slice_equal(first_of(table[at])->subject, subject)) at = (at + 1) % f->bucket_count;
    return &table[at];
}

/* Step 5, with the children's order of step 4: threads of one subject become one. */
static void join_subjects(struct forest *f, size_t top_count, struct node **tops) {
    struct node **table = arena_alloc(f->arena, f->bucket_count * sizeof *table);
    for (size_t i = 0; i < top_count; i++) {
        struct node *n = tops[i];
        if (!first_of(n)->subject.n) continue;
        struct node **place = subject_place(f, table, first_of(n)->subject);
        if (!*place || ((*place)->message && (!n->message || ((*place)->message->reply && !n->message->reply))))
            *place = n;
    }
    for (size_t i = 0; i < top_count; i++) {
        struct node *n = tops[i];
        if (!first_of(n)->subject.n) continue;
        struct node **place = subject_place(f, table, first_of(n)->subject), *other = *place;
        if (other == n) continue;
        if (!other->message && !n->message) {
            for (size_t k = 0; k < n->child_count; k++) n->children[k]->parent = other;
            n->dropped = true;
        } else if (!other->message || (n->message->reply && !other->message->reply)) {
            n->parent = other;
        } else {
            struct node *dummy = make(f, NULL);
            dummy->children = arena_alloc(f->arena, 2 * sizeof *dummy->children);
            dummy->children[0] = other; /* its subject is the dummy's */
            dummy->children[1] = n;
            dummy->child_count = 2;
            other->parent = n->parent = dummy;
            *place = dummy;
        }
    }
}

static int by_subject(const void *left, const void *right) {
    const struct node *a = *(struct node *const *)left, *b = *(struct node *const *)right;
    struct slice x = a->message->subject, y = b->message->subject;
    size_t n = x.n < y.n ? x.n : y.n;
    int order = n ? memcmp(x.p, y.p, n) : 0;
    if (!order) order = (x.n > y.n) - (x.n < y.n);
    if (!order) order = (a->message->sent > b->message->sent) - (a->message->sent < b->message->sent);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

static void link_by_subject(struct forest *f) {
    struct node *first = NULL, **list = arena_alloc(f->arena, (f->count + 1) * sizeof *list);
    if (!f->count) return;
    memcpy(list, f->all, f->count * sizeof *list);
    qsort(list, f->count, sizeof *list, by_subject);
    for (size_t i = 0; i < f->count; i++) {
        if (first && slice_equal(first->message->subject, list[i]->message->subject))
            list[i]->parent = first;
        else
            first = list[i];
    }
}

static void link_by_references(struct forest *f, size_t count) {
    for (size_t i = 0; i < count; i++) { /* the first message with an id has it */
        struct slice id = f->all[i]->message->id;
        if (id.n && !find(f, id)) enter(f, f->all[i], id);
    }
    for (size_t i = 0; i < count; i++) link_message(f, f->all[i]);
    prune(f);
}

static void write_thread(struct node *top, struct buf *out) {
    struct node *n = top;
    buf_add_char(out, '(');
    if (n->message) buf_printf(out, "%u", n->message->number);
    for (;;) {
        if (n->place < n->child_count) {
            struct node *child = n->children[n->place++];
            bool list = n->child_count > 1;
            if (n->message && n->place == 1) buf_add_char(out, ' ');
            buf_printf(out, list ? "(%u" : "%u", child->message->number);
            n = child;
            continue;
        }
        if (n == top) break;
        if (n->parent->child_count > 1) buf_add_char(out, ')');
        n = n->parent;
    }
    buf_add_char(out, ')');
}

void thread_write(struct arena *arena, enum thread_algorithm algorithm, size_t count,
                  const struct thread_message messages[], struct buf *out) {
    struct forest f = {.arena = arena, .algorithm = algorithm};
    size_t top_count = 0;
    struct node **tops = NULL;
    f.bucket_count = count * 2 + 1;
    f.buckets = arena_alloc(arena, f.bucket_count * sizeof *f.buckets);
    for (size_t i = 0; i < count; i++) make(&f, &messages[i]);
    if (algorithm == THREAD_ORDERED_SUBJECT)
        link_by_subject(&f);
    else
        link_by_references(&f, count);
    gather(&f, false, NULL, NULL);
    if (algorithm == THREAD_REFS) find_newest(&f);
    gather(&f, true, &tops, &top_count);
    if (algorithm == THREAD_REFERENCES) {
        join_subjects(&f, top_count, tops);
        gather(&f, false, NULL, NULL);
        gather(&f, true, &tops, &top_count);
    }
    for (size_t i = 0; i < top_count; i++) write_thread(tops[i], out);
}
