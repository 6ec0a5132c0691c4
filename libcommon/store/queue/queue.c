/* The life of an entry: commit, lease, record, release. */
#include "libcommon/store/queue.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/cost.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue/queue_private.h"

enum { KEY_BYTES = 24, STEP_RCPTS = 50, TOKEN_MAX = 64 };

int queue_shard_of(struct slice id) {
    unsigned sum = 0;
    for (size_t i = 10; i < id.n; i++) sum += (unsigned char)id.p[i];
    return (int)(sum % QUEUE_SHARDS);
}

/* Two characters choose the shard: the first of their values, from a random one on, that fits. */
static void move_to_shard(char id[ULID_BYTES], int shard, uint32_t random) {
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    for (uint32_t i = 0; i < 1024 && queue_shard_of(slice_make(id, ULID_LENGTH)) != shard; i++) {
        id[ULID_LENGTH - 2] = alphabet[(random + i) >> 5 & 31];
        id[ULID_LENGTH - 1] = alphabet[(random + i) & 31];
    }
}

void queue_id_create(struct queue_ids *ids, char out[ULID_BYTES]) {
    int64_t now = clock_monotonic_us();
    ulid_create(out);
    if (now >= ids->until_us) { /* the shard of this id is the next one */
        ids->shard = queue_shard_of(slice_make(out, ULID_LENGTH));
        ids->until_us = now + QUEUE_SHARD_MS * 1000;
        return;
    }
    move_to_shard(out, ids->shard, (uint32_t)(out[ULID_LENGTH - 3] * 31 + out[ULID_LENGTH - 1]));
}

static struct slice shard_key(char out[KEY_BYTES], int shard) {
    int n = snprintf(out, KEY_BYTES, "{q:%d}", shard);
    return slice_make(out, (size_t)n);
}

void queue_call(struct redis *r, redis_reply_fn *fn, void *ctx, const char *function, int shard, size_t argc,
                const struct slice argv[]) {
    char key[KEY_BYTES];
    redis_fcall(r, fn, ctx, function, shard_key(key, shard), argc, argv);
}

void queue_ask(struct redis *r, redis_reply_fn *fn, void *ctx, const char *function, int shard, size_t argc,
               const struct slice argv[]) {
    char key[KEY_BYTES];
    redis_fcall_ro(r, fn, ctx, function, shard_key(key, shard), argc, argv);
}

static void call_for(struct redis *r, redis_reply_fn *fn, queue_done_fn *done, void *ctx, const char *function,
                     struct slice id, size_t argc, const struct slice argv[]) {
    queue_call(r, fn, PENDING(done, ctx), function, queue_shard_of(id), argc, argv);
}

struct slice queue_domain(struct arena *a, struct slice address) {
    struct slice domain = envelope_domain(address);
    if (domain.n == 0) return SLICE("-");
    char *lower = arena_copy(a, domain);
    for (size_t i = 0; i < domain.n; i++) lower[i] = (char)(lower[i] & 0x80 ? lower[i] : tolower(lower[i]));
    return slice_make(lower, domain.n);
}

static struct slice arena_decimal(struct arena *a, long long value) {
    char text[DECIMAL_BYTES];
    return arena_slice(a, decimal(text, value));
}

/* Commit */

struct queue_parcel {
    struct arena *arena;
    struct slice id;
    bool held;
    size_t argc;
    struct slice *argv;
};

struct counted_domain {
    struct slice domain;
    long long count;
};

static int compare_domains(const void *a, const void *b) {
    const struct counted_domain *x = a, *y = b;
    size_t n = x->domain.n < y->domain.n ? x->domain.n : y->domain.n;
    int order = memcmp(x->domain.p, y->domain.p, n);
    return order ? order : (x->domain.n > y->domain.n) - (x->domain.n < y->domain.n);
}

/* The distinct destination domains with their numbers of recipients, in place; returns their
 * number. */
static size_t count_domains(struct counted_domain *all, size_t n) {
    size_t count = 0;
    qsort(all, n, sizeof *all, compare_domains);
    for (size_t i = 0; i < n; i++) {
        if (count && slice_equal(all[count - 1].domain, all[i].domain))
            all[count - 1].count++;
        else
            all[count++] = all[i];
    }
    return count;
}

struct queue_parcel *queue_parcel_create(const struct envelope *e) {
    struct arena *a = arena_create();
    struct queue_parcel *p = arena_alloc(a, sizeof *p);
    struct counted_domain *domains = arena_alloc(a, (e->rcpt_count + 1) * sizeof *domains);
    struct buf text = {0};
    for (size_t i = 0; i < e->rcpt_count; i++)
        domains[i] = (struct counted_domain){queue_domain(a, e->rcpts[i].address), 1};
    size_t count = count_domains(domains, e->rcpt_count);
    envelope_encode(e, &text);
    p->arena = a;
    p->id = arena_slice(a, slice_of(e->id));
    p->held = e->hold.n > 0;
    p->argv = arena_alloc(a, (4 + 2 * count) * sizeof *p->argv);
    p->argv[p->argc++] = p->id;
    p->argv[p->argc++] = arena_slice(a, buf_slice(&text));
    p->argv[p->argc++] = arena_decimal(a, (long long)e->rcpt_count);
    p->argv[p->argc++] = arena_decimal(a, e->priority);
    for (size_t i = 0; i < count; i++) {
        p->argv[p->argc++] = domains[i].domain;
        p->argv[p->argc++] = arena_decimal(a, domains[i].count);
    }
    buf_free(&text);
    return p;
}

void queue_parcel_commit(struct redis *r, const struct queue_parcel *p, queue_done_fn *done, void *ctx) {
    call_for(r, pending_on_result, done, ctx, p->held ? "queue_commit_held" : "queue_commit", p->id, p->argc, p->argv);
}

void queue_parcel_commit_stored(struct redis *r, const struct queue_parcel *p, queue_done_fn *done, void *ctx) {
    call_for(r, pending_on_result, done, ctx, "queue_commit_stored", p->id, p->argc, p->argv);
}

void queue_parcel_destroy(struct queue_parcel *p) {
    if (p) arena_destroy(p->arena);
}

void queue_commit(struct redis *r, const struct envelope *e, queue_done_fn *done, void *ctx) {
    struct queue_parcel *p = queue_parcel_create(e);
    queue_parcel_commit(r, p, done, ctx);
    queue_parcel_destroy(p);
}

void queue_commit_text(struct redis *r, const struct envelope *e, struct slice text, queue_done_fn *done, void *ctx) {
    struct envelope whole = *e;
    whole.text_in_queue = true;
    struct queue_parcel *p = queue_parcel_create(&whole);
    struct slice *argv = arena_alloc(p->arena, (p->argc + 2) * sizeof *argv);
    struct buf packed = {0};
    queue_pack_text(text, &packed);
    cost_body_copy(packed.n); /* compressed */
    cost_body_copy(packed.n); /* and copied into the command */
    argv[0] = buf_slice(&packed);
    argv[1] = arena_decimal(p->arena, (long long)text.n);
    memcpy(argv + 2, p->argv, p->argc * sizeof *argv);
    call_for(r, pending_on_result, done, ctx, "queue_commit_text", p->id, p->argc + 2, argv);
    buf_free(&packed);
    queue_parcel_destroy(p);
}

/* The text */

static void on_text(void *ctx, const redisReply *reply) {
    struct pending p = pending_take(ctx);
    struct buf text = {0};
    int error = redis_reply_error(reply);
    if (!error &&
        (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING))
        error = STORE_NOT_FOUND;
    if (!error) {
        struct slice packed = redis_reply_slice(reply->element[0]);
        long long size = redis_reply_integer(reply->element[1]);
        error = size < 0 ? STORE_INVALID : queue_unpack_text(packed, (size_t)size, &text);
        cost_body_copy(packed.n); /* copied from the reply */
        cost_body_copy(text.n);
        if (error) log_error("a text in the queue is damaged", NULL);
    }
    ((queue_text_fn *)p.done)(p.ctx, error, buf_slice(&text));
    buf_free(&text);
}

void queue_read_text(struct redis *r, struct slice id, bool in_queue, queue_text_fn *done, void *ctx) {
    if (!in_queue) {
        blob_read(r, id, NULL, done, ctx);
        return;
    }
    char key[KEY_BYTES + ULID_BYTES];
    int n = snprintf(key, sizeof key, "{q:%d}:b:%.*s", queue_shard_of(id), SLICE_FMT(id));
    struct slice command[] = {SLICE("HMGET"), slice_make(key, (size_t)n < sizeof key ? (size_t)n : sizeof key - 1),
                              SLICE("z"), SLICE("n")};
    redis_command(r, on_text, PENDING(done, ctx), 4, command);
}

/* Lease */

struct leasing {
    struct redis *redis;
    int shard;
    char token[TOKEN_MAX];
    queue_entries_fn *done;
    void *ctx;
};

static void bury(const struct leasing *l, const char *id) {
    struct slice args[] = {slice_of(id), slice_of(l->token)};
    log_error("a queue entry is damaged and was put among the dead letters", "id", id, NULL);
    queue_call(l->redis, pending_on_done, NULL, "queue_bury", l->shard, 2, args);
}

static void take_text(struct envelope *e, const redisReply *entry) {
    if (entry->elements < 7 || redis_reply_integer(entry->element[6]) != (long long)e->size) return;
    e->packed = arena_slice(e->arena, redis_reply_slice(entry->element[5]));
    cost_body_copy(e->packed.n);
}

static void on_leased(void *ctx, const redisReply *reply) {
    struct leasing *l = ctx;
    struct envelope *entries[QUEUE_LEASE_MAX];
    int error = redis_reply_error(reply);
    size_t count = queue_elements(reply, error);
    for (size_t i = 0; i < count; i++) {
        bool damaged;
        entries[i] = queue_read(reply->element[i], &damaged);
        if (damaged)
            bury(l, entries[i]->id);
        else
            take_text(entries[i], reply->element[i]);
    }
    l->done(l->ctx, error, count, entries);
    free(l);
}

void queue_lease(struct redis *r, int shard, size_t max, size_t text_bytes, int64_t lease_ms, const char *token,
                 queue_entries_fn *done, void *ctx) {
    char a[DECIMAL_BYTES], b[DECIMAL_BYTES], c[DECIMAL_BYTES];
    struct leasing *l = memory_alloc(sizeof *l);
    l->redis = r;
    l->shard = shard;
    l->done = done;
    l->ctx = ctx;
    snprintf(l->token, sizeof l->token, "%s", token);
    struct slice args[] = {decimal(a, max < QUEUE_LEASE_MAX ? (long long)max : QUEUE_LEASE_MAX), decimal(b, lease_ms),
                           slice_of(l->token), decimal(c, (long long)text_bytes)};
    queue_call(r, on_leased, l, "queue_lease", shard, 4, args);
}

void queue_extend(struct redis *r, struct slice id, const char *token, int64_t lease_ms, queue_done_fn *done,
                  void *ctx) {
    char a[DECIMAL_BYTES];
    struct slice args[] = {id, slice_of(token), decimal(a, lease_ms)};
    call_for(r, pending_on_done, done, ctx, "queue_extend", id, 3, args);
}

void queue_release(struct redis *r, struct slice id, const char *token, queue_done_fn *done, void *ctx) {
    struct slice args[] = {id, slice_of(token)};
    call_for(r, pending_on_done, done, ctx, "queue_release", id, 2, args);
}

/* Record, in steps of bounded size that run concurrently. The first refused step decides the
 * result; the step that completes the last recipient reports that the entry was removed, in any
 * order of the answers. */

struct recording {
    size_t waiting;
    int error;
    bool gone;
    queue_done_fn *done;
    void *ctx;
};

static void on_step(void *ctx, const redisReply *reply) {
    struct recording *g = ctx;
    int error = redis_reply_error(reply);
    if (error && !g->error) g->error = error;
    if (!error && redis_reply_integer(reply) == QUEUE_GONE) g->gone = true;
    if (--g->waiting) return;
    if (g->done) g->done(g->ctx, g->error ? g->error : g->gone ? QUEUE_GONE : 0);
    free(g);
}

/* Writes one recipient's arguments; returns their number. */
typedef size_t arguments_fn(struct arena *a, const struct envelope *e, size_t index, struct slice argv[]);

static struct slice state_text(struct arena *a, const struct envelope_rcpt *r) {
    struct buf text = {0};
    envelope_encode_state(r, &text);
    struct slice copy = arena_slice(a, buf_slice(&text));
    buf_free(&text);
    return copy;
}

static size_t record_arguments(struct arena *a, const struct envelope *e, size_t index, struct slice argv[]) {
    const struct envelope_rcpt *r = &e->rcpts[index];
    bool open = r->state == RCPT_DUE || r->state == RCPT_DEFERRED;
    argv[0] = arena_decimal(a, (long long)index);
    argv[1] = open ? SLICE("1") : SLICE("0");
    argv[2] = state_text(a, r);
    argv[3] = arena_decimal(a, r->state == RCPT_DEFERRED ? r->next_ms : 0);
    argv[4] = arena_decimal(a, r->owed);
    argv[5] = queue_domain(a, r->address);
    return 6;
}

static size_t reported_arguments(struct arena *a, const struct envelope *e, size_t index, struct slice argv[]) {
    struct envelope_rcpt settled = e->rcpts[index];
    settled.owed = REPORT_NONE;
    argv[0] = arena_decimal(a, (long long)index);
    argv[1] = state_text(a, &settled);
    argv[2] = arena_decimal(a, e->rcpts[index].owed);
    return 3;
}

static void record_in_steps(struct redis *r, const char *function, arguments_fn *arguments, const struct envelope *e,
                            const char *token, size_t count, const size_t indexes[], queue_done_fn *done, void *ctx) {
    struct recording *g = memory_alloc(sizeof *g);
    g->done = done;
    g->ctx = ctx;
    g->waiting = count ? (count + STEP_RCPTS - 1) / STEP_RCPTS : 1;
    struct arena *a = arena_create();
    for (size_t at = 0, steps = g->waiting; steps--; at += STEP_RCPTS) {
        struct slice argv[2 + 6 * STEP_RCPTS];
        size_t argc = 0;
        argv[argc++] = slice_of(e->id);
        argv[argc++] = slice_of(token);
        for (size_t i = at; i < count && i < at + STEP_RCPTS; i++) argc += arguments(a, e, indexes[i], argv + argc);
        queue_call(r, on_step, g, function, queue_shard_of(slice_of(e->id)), argc, argv);
        arena_reset(a);
    }
    arena_destroy(a);
}

void queue_record(struct redis *r, const struct envelope *e, const char *token, size_t count, const size_t indexes[],
                  queue_done_fn *done, void *ctx) {
    record_in_steps(r, "queue_record", record_arguments, e, token, count, indexes, done, ctx);
}

void queue_reported(struct redis *r, const struct envelope *e, const char *token, size_t count, const size_t indexes[],
                    queue_done_fn *done, void *ctx) {
    record_in_steps(r, "queue_reported", reported_arguments, e, token, count, indexes, done, ctx);
}
