/* The organizational domains of two names, by the DNS tree walk (RFC 9989 §4.10,
 * libcommon/trust/dmarc/dmarc.h). The walk is a pure function over DNS answers: it runs on the
 * answers known so far; missing answers are requested from the verifier all at once, and it runs
 * again. */
#include <stdlib.h>

#include "libcommon/base/member.h"
#include "libcommon/trust/dmarc/dmarc.h"
#include "services/reporter/reporter.h"

enum { QUESTIONS_MAX = 2 * DMARC_QUERIES_MAX, ROUNDS_MAX = 4 };

struct comparison;

struct question {
    struct comparison *comparison;
    const char *name;
    struct trust_answer *answer; /* NULL: not known yet */
    bool asked;
};

struct comparison {
    struct reporter *reporter;
    struct arena *arena;
    struct slice a, b;
    struct question questions[QUESTIONS_MAX];
    size_t count, waiting;
    int rounds;
    organization_fn *done;
    void *ctx;
    struct event *soon;
};

static void finish(struct comparison *c, enum organizations answer) {
    organization_fn *done = c->done;
    void *ctx = c->ctx;
    event_free(c->soon);
    arena_destroy(c->arena);
    free(c);
    done(ctx, answer);
}

static const struct trust_answer *look_up(void *ctx, struct slice name, int type) {
    struct comparison *c = ctx;
    (void)type; /* the walk only queries TXT */
    for (size_t i = 0; i < c->count; i++)
        if (slice_equal_nocase(slice_of(c->questions[i].name), name)) return c->questions[i].answer;
    if (c->count < QUESTIONS_MAX)
        c->questions[c->count++] = (struct question){.comparison = c, .name = arena_copy(c->arena, name)};
    return NULL;
}

static void run(struct comparison *c);

static void on_records(void *ctx, int error, const json_t *reply) {
    struct question *q = ctx;
    struct comparison *c = q->comparison;
    const char *result = member_text_or_null(reply, "result");
    const json_t *records = json_object_get(reply, "records");
    struct trust_answer *answer = arena_alloc(c->arena, sizeof *answer);
    struct trust_record *list = arena_alloc(c->arena, (json_array_size(records) + 1) * sizeof *list);
    size_t i;
    json_t *each;
    answer->status = error || !result                  ? TRUST_DNS_FAILED
                     : strcmp(result, "ok") == 0       ? TRUST_DNS_OK
                     : strcmp(result, "nodata") == 0   ? TRUST_DNS_NODATA
                     : strcmp(result, "nxdomain") == 0 ? TRUST_DNS_NXDOMAIN
                                                       : TRUST_DNS_FAILED;
    json_array_foreach(records, i, each) list[answer->count++].data =
        arena_slice(c->arena, slice_of(json_string_value(each)));
    answer->records = list;
    q->answer = answer;
    if (--c->waiting == 0) run(c);
}

static void ask(struct comparison *c) {
    for (size_t i = 0; i < c->count; i++) {
        struct question *q = &c->questions[i];
        if (q->asked) continue;
        q->asked = true;
        c->waiting++;
        bus_request(c->reporter->worker->bus, "verifier.txt", json_pack("{s:s}", "name", q->name), ASK_MS, on_records,
                    q);
    }
}

static void run(struct comparison *c) {
    struct trust_dns dns = {.lookup = look_up, .ctx = c};
    struct dmarc_walk one, other;
    int pending = dmarc_walk(c->arena, &dns, c->a, DMARC_TREE_WALK, &one);
    pending |= dmarc_walk(c->arena, &dns, c->b, DMARC_TREE_WALK, &other);
    if (pending && ++c->rounds <= ROUNDS_MAX) ask(c);
    if (c->waiting) return;
    if (pending || one.no_answer || other.no_answer)
        finish(c, ORGANIZATIONS_UNKNOWN);
    else
        finish(c,
               slice_equal_nocase(one.organization, other.organization) ? ORGANIZATIONS_SAME : ORGANIZATIONS_DIFFERENT);
}

static void on_soon(evutil_socket_t fd, short what, void *ctx) {
    struct comparison *c = ctx;
    (void)fd, (void)what;
    if (slice_equal_nocase(c->a, c->b))
        finish(c, ORGANIZATIONS_SAME);
    else
        run(c);
}

void organization_compare(struct reporter *r, const char *a, const char *b, organization_fn *done, void *ctx) {
    struct comparison *c = memory_alloc(sizeof *c);
    struct timeval now = {0};
    c->reporter = r;
    c->arena = arena_create();
    c->a = arena_slice(c->arena, slice_of(a));
    c->b = arena_slice(c->arena, slice_of(b));
    c->done = done;
    c->ctx = ctx;
    c->soon = evtimer_new(r->worker->base, on_soon, c);
    event_add(c->soon, &now);
}
