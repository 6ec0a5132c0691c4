#include "libcommon/store/queue.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"
#include "libcommon/base/ulid.h"

enum { KEY_BYTES = 24, NUMBER_BYTES = 24, LEASE_MAX = 512 };

/* What waits for an answer: exactly one of the callbacks is set. */
struct waiting {
    queue_done_fn *done;
    queue_lease_fn *lease;
    queue_stat_fn *stat;
    void *ctx;
};

int queue_shard_of(struct slice id) {
    unsigned sum = 0;
    for (size_t i = 10; i < id.n; i++) sum += (unsigned char)id.p[i];
    return (int)(sum % QUEUE_SHARDS);
}

static struct slice shard_key(char out[KEY_BYTES], int shard) {
    int n = snprintf(out, KEY_BYTES, "{q:%d}", shard);
    return slice_make(out, (size_t)n);
}

static struct slice number(char out[NUMBER_BYTES], int64_t value) {
    int n = snprintf(out, NUMBER_BYTES, "%lld", (long long)value);
    return slice_make(out, (size_t)n);
}

static struct waiting *waiting_create(struct waiting w) {
    struct waiting *p = memory_alloc(sizeof *p);
    *p = w;
    return p;
}

static void on_done(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    if (!w) return;
    int error = redis_reply_error(reply);
    if (w->done) w->done(w->ctx, error ? error : 0);
    free(w);
}

/* As on_done, but 1 ("the entry is gone") goes through. */
static void on_updated(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    if (!w) return;
    int error = redis_reply_error(reply);
    if (w->done) w->done(w->ctx, error ? error : (int)redis_reply_integer(reply));
    free(w);
}

static void fcall(struct redis *r, redis_reply_fn *fn, struct waiting *w, const char *function, int shard, size_t argc,
                  const struct slice argv[]) {
    char key[KEY_BYTES];
    redis_fcall(r, fn, w, function, shard_key(key, shard), argc, argv);
}

void queue_commit(struct redis *r, struct slice id, const json_t *envelope, queue_done_fn *done, void *ctx) {
    char open[NUMBER_BYTES];
    char *text = json_dumps(envelope, JSON_COMPACT);
    if (!text) memory_exhausted();
    struct slice args[] = {id, slice_of(text),
                           number(open, (int64_t)json_array_size(json_object_get(envelope, "rcpts")))};
    fcall(r, on_done, waiting_create((struct waiting){.done = done, .ctx = ctx}), "queue_commit", queue_shard_of(id), 3,
          args);
    free(text);
}

/* One entry of a lease or list reply, {id, env, index, state, …}, as the envelope with its recipients' states merged
 * in; NULL when it is damaged. */
static json_t *entry_envelope(const redisReply *entry, struct slice *id) {
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 2) return NULL;
    struct slice text = redis_reply_slice(entry->element[1]);
    *id = redis_reply_slice(entry->element[0]);
    json_t *envelope = json_loadb(text.p, text.n, 0, NULL);
    json_t *rcpts = json_object_get(envelope, "rcpts");
    if (!json_is_array(rcpts)) {
        log_error("a queue entry is damaged and was left alone", "id", id->p, NULL);
        json_decref(envelope);
        return NULL;
    }
    for (size_t i = 2; i + 1 < entry->elements; i += 2) {
        struct slice state = redis_reply_slice(entry->element[i + 1]);
        json_t *change = json_loadb(state.p, state.n, 0, NULL);
        if (change) json_object_update(json_array_get(rcpts, (size_t)redis_reply_integer(entry->element[i])), change);
        json_decref(change);
    }
    return envelope;
}

static void on_lease(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    struct slice ids[LEASE_MAX];
    json_t *envelopes[LEASE_MAX];
    size_t count = 0;
    int error = redis_reply_error(reply);
    if (!error && reply->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->elements && count < LEASE_MAX; i++) {
            json_t *envelope = entry_envelope(reply->element[i], &ids[count]);
            if (envelope) envelopes[count++] = envelope;
        }
    }
    w->lease(w->ctx, error, count, ids, envelopes);
    for (size_t i = 0; i < count; i++) json_decref(envelopes[i]);
    free(w);
}

void queue_lease(struct redis *r, int shard, size_t max, int64_t lease_ms, queue_lease_fn *done, void *ctx) {
    char a[NUMBER_BYTES], b[NUMBER_BYTES];
    struct slice args[] = {number(a, max < LEASE_MAX ? (int64_t)max : LEASE_MAX), number(b, lease_ms)};
    fcall(r, on_lease, waiting_create((struct waiting){.lease = done, .ctx = ctx}), "queue_lease", shard, 2, args);
}

void queue_extend(struct redis *r, struct slice id, int64_t lease_ms) {
    char a[NUMBER_BYTES];
    struct slice args[] = {id, number(a, lease_ms)};
    fcall(r, on_done, NULL, "queue_extend", queue_shard_of(id), 2, args);
}

void queue_update(struct redis *r, struct slice id, const json_t *changes, bool others_in_work, queue_done_fn *done,
                  void *ctx) {
    size_t count = json_object_size(changes), n = 0;
    struct slice *args = memory_alloc((2 + 4 * count) * sizeof *args);
    char(*numbers)[NUMBER_BYTES] = memory_alloc((count + 1) * sizeof *numbers);
    char **texts = memory_alloc((count + 1) * sizeof *texts);
    const char *index;
    const json_t *change;
    args[n++] = id;
    args[n++] = others_in_work ? SLICE("1") : SLICE("0");
    size_t i = 0;
    for (void *at = json_object_iter((json_t *)(uintptr_t)changes); at;
         at = json_object_iter_next((json_t *)(uintptr_t)changes, at), i++) {
        index = json_object_iter_key(at);
        change = json_object_iter_value(at);
        const char *state = json_string_value(json_object_get(change, "state"));
        bool open = state && (strcmp(state, "due") == 0 || strcmp(state, "deferred") == 0);
        texts[i] = json_dumps(change, JSON_COMPACT);
        args[n++] = slice_of(index);
        args[n++] = open ? SLICE("1") : SLICE("0");
        args[n++] = slice_of(texts[i]);
        args[n++] = number(numbers[i], json_integer_value(json_object_get(change, "next")));
    }
    fcall(r, on_updated, waiting_create((struct waiting){.done = done, .ctx = ctx}), "queue_update", queue_shard_of(id),
          n, args);
    for (i = 0; i < count; i++) free(texts[i]);
    free(texts);
    free(numbers);
    free(args);
}

void queue_retry(struct redis *r, struct slice id, queue_done_fn *done, void *ctx) {
    fcall(r, on_done, waiting_create((struct waiting){.done = done, .ctx = ctx}), "queue_retry", queue_shard_of(id), 1,
          &id);
}

void queue_delete(struct redis *r, struct slice id, queue_done_fn *done, void *ctx) {
    fcall(r, on_done, waiting_create((struct waiting){.done = done, .ctx = ctx}), "queue_delete", queue_shard_of(id), 1,
          &id);
}

void queue_list(struct redis *r, int shard, size_t offset, size_t max, queue_lease_fn *done, void *ctx) {
    char a[NUMBER_BYTES], b[NUMBER_BYTES];
    struct slice args[] = {number(a, (int64_t)offset), number(b, max < LEASE_MAX ? (int64_t)max : LEASE_MAX)};
    fcall(r, on_lease, waiting_create((struct waiting){.lease = done, .ctx = ctx}), "queue_list", shard, 2, args);
}

static void on_stat(void *ctx, const redisReply *reply) {
    struct waiting *w = ctx;
    int error = redis_reply_error(reply);
    bool whole = !error && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2;
    w->stat(w->ctx, error, whole ? redis_reply_integer(reply->element[0]) : 0,
            whole ? redis_reply_integer(reply->element[1]) : 0);
    free(w);
}

void queue_stat(struct redis *r, int shard, queue_stat_fn *done, void *ctx) {
    fcall(r, on_stat, waiting_create((struct waiting){.stat = done, .ctx = ctx}), "queue_stat", shard, 0, NULL);
}
