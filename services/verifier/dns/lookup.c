#include "services/verifier/dns/lookup.h"

#include <stdlib.h>

struct question {
    struct lookup *lookup;
    struct question *next;
    struct slice name; /* as added, without final dot */
    int type;
    bool asked;
    const struct answer *answer;
};

struct lookup {
    struct resolver *resolver;
    struct arena *arena;
    struct question *first, **last;
    size_t count, max, waiting;
    lookup_fn *done;
    void *ctx;
};

struct lookup *lookup_create(struct resolver *r, struct arena *arena, size_t questions_max, lookup_fn *done,
                             void *ctx) {
    struct lookup *l = memory_alloc(sizeof *l);
    l->resolver = r;
    l->arena = arena;
    l->max = questions_max;
    l->last = &l->first;
    l->done = done, l->ctx = ctx;
    return l;
}

void lookup_destroy(struct lookup *l) { free(l); /* the questions are in the arena */ }

static struct slice without_dot(struct slice name) {
    if (name.n && name.p[name.n - 1] == '.') name.n--;
    return name;
}

static struct question *find(const struct lookup *l, struct slice name, int type) {
    name = without_dot(name);
    for (struct question *q = l->first; q; q = q->next) {
        if (q->type == type && slice_equal_nocase(q->name, name)) return q;
    }
    return NULL;
}

/* Adds a question; NULL when there are questions_max already. */
static struct question *add(struct lookup *l, struct slice name, int type) {
    if (l->count == l->max) return NULL;
    struct question *q = arena_alloc(l->arena, sizeof *q);
    q->lookup = l;
    q->name = arena_slice(l->arena, without_dot(name));
    q->type = type;
    *l->last = q;
    l->last = &q->next;
    l->count++;
    return q;
}

bool lookup_add(struct lookup *l, struct slice name, int type) { return find(l, name, type) || add(l, name, type); }

/* Whether the resolver knows the answer; then the answer is set. */
static bool take_known(struct question *q) {
    const struct answer *known = resolver_known(q->lookup->resolver, q->name, q->type);
    if (!known) return false;
    q->asked = true;
    q->answer = answer_copy(q->lookup->arena, known);
    return true;
}

const struct answer *lookup_ask(struct lookup *l, struct slice name, int type, bool *full) {
    struct question *q = find(l, name, type);
    if (!q) {
        q = add(l, name, type);
        if (!q)
            *full = true;
        else
            take_known(q);
    }
    return q ? q->answer : NULL;
}

static void on_answer(void *ctx, const struct answer *answer) {
    struct question *q = ctx;
    struct lookup *l = q->lookup;
    q->answer = answer_copy(l->arena, answer);
    if (--l->waiting == 0) l->done(l->ctx);
}

bool lookup_run(struct lookup *l) {
    for (struct question *q = l->first; q; q = q->next) {
        if (q->asked || take_known(q)) continue;
        q->asked = true;
        l->waiting++;
        resolver_ask(l->resolver, q->name, q->type, on_answer, q);
    }
    return l->waiting == 0;
}

const struct answer *lookup_answer(const struct lookup *l, struct slice name, int type) {
    const struct question *q = find(l, name, type);
    return q ? q->answer : NULL;
}

const struct trust_answer *lookup_as_proofs_take_it(struct arena *arena, const struct answer *a) {
    static const enum trust_dns_status statuses[] = {[ANSWER_OK] = TRUST_DNS_OK,
                                                     [ANSWER_NODATA] = TRUST_DNS_NODATA,
                                                     [ANSWER_NXDOMAIN] = TRUST_DNS_NXDOMAIN,
                                                     [ANSWER_FAILED] = TRUST_DNS_FAILED};
    struct trust_answer *t = arena_alloc(arena, sizeof *t);
    struct trust_record *records = arena_alloc(arena, (a->count + 1) * sizeof *records);
    for (size_t i = 0; i < a->count; i++)
        records[i] = (struct trust_record){a->records[i].preference, a->records[i].data};
    *t = (struct trust_answer){
        .status = statuses[a->status], .secure = a->security == ANSWER_SECURE, .count = a->count, .records = records};
    return t;
}

size_t lookup_count(const struct lookup *l) { return l->count; }
