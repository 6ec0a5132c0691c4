/* A user's mailbox as a whole: totals, quota, deletion; and the release of blobs that are no longer
 * used. */
#include "libcommon/store/mailbox/mailbox_private.h"

#include "libcommon/base/ulid.h"

/* TOMBSTONE_SECONDS: longer than any message stays in the queue. */
#define TOMBSTONE_SECONDS "2592000"

/* Release: each blob first, then the note in {u}:x. A process that dies in between leaves the note,
 * and the janitor finds it. */

struct releasing {
    struct redis *r;
    char *key;
    size_t waiting;
    bool failed;
    mailbox_done_fn *then; /* called at the end; may be NULL */
    void *then_ctx;
    size_t count;
    char **members;
};

static void releasing_end(struct releasing *o, int error) {
    if (o->then) o->then(o->then_ctx, error);
    for (size_t i = 0; i < o->count; i++) free(o->members[i]);
    free(o->members);
    free(o->key);
    free(o);
}

static void on_noted(void *ctx, const redisReply *reply) {
    struct releasing *o = ctx;
    if (redis_reply_error(reply)) o->failed = true;
    if (--o->waiting == 0) releasing_end(o, o->failed ? STORE_UNAVAILABLE : 0);
}

/* Removes the released ones from {u}:x. */
static void forget_notes(struct releasing *o) {
    struct slice args[MAILBOX_CHUNK];
    o->waiting = (o->count + MAILBOX_CHUNK - 1) / MAILBOX_CHUNK;
    for (size_t at = 0; at < o->count; at += MAILBOX_CHUNK) {
        size_t n = o->count - at < MAILBOX_CHUNK ? o->count - at : MAILBOX_CHUNK;
        for (size_t i = 0; i < n; i++) args[i] = slice_of(o->members[at + i]);
        mailbox_fcall(o->r, on_noted, o, "mailbox_released", o->key, n, args);
    }
}

static void on_released(void *ctx, int error) {
    struct releasing *o = ctx;
    if (error) o->failed = true;
    if (--o->waiting) return;
    if (o->failed || o->count == 0)
        releasing_end(o, o->failed ? STORE_UNAVAILABLE : 0);
    else
        forget_notes(o);
}

static void release_then(struct redis *r, const char *key, const redisReply *list, mailbox_done_fn *then,
                         void *then_ctx) {
    struct releasing *o = memory_alloc(sizeof *o);
    size_t elements = list && list->type == REDIS_REPLY_ARRAY ? list->elements : 0;
    *o = (struct releasing){.r = r, .key = memory_copy(slice_of(key)), .then = then, .then_ctx = then_ctx};
    o->members = memory_alloc((elements + 1) * sizeof *o->members);
    o->waiting = 1;
    for (size_t i = 0; i < elements; i++) {
        struct slice member = redis_reply_slice(list->element[i]);
        char text[MAILBOX_REF_MAX];
        if (member.n <= ULID_LENGTH) continue;
        o->members[o->count++] = memory_copy(member);
        o->waiting++;
        struct slice ref = slice_of(mailbox_name_ref(text, mailbox_user_of(key), slice_skip(member, ULID_LENGTH + 1)));
        blob_release(r, slice_head(member, ULID_LENGTH), 1, &ref, on_released, o);
    }
    on_released(o, 0);
}

void mailbox_release(struct redis *r, const char *key, const redisReply *list) {
    if (list && list->type == REDIS_REPLY_ARRAY && list->elements) release_then(r, key, list, NULL, NULL);
}

struct sweeping {
    struct redis *r;
    char *key;
    bool more;
    mailbox_done_fn *done;
    void *ctx;
};

static void sweep_step(void *ctx, int error);

static void on_swept(void *ctx, const redisReply *reply) {
    struct sweeping *s = ctx;
    int error = mailbox_reply_array(reply, 2);
    if (error) {
        s->more = false;
        sweep_step(s, error);
        return;
    }
    const redisReply *list = mailbox_element(reply, 0);
    s->more = list->elements != 0 || redis_reply_integer(reply->element[1]) != 0;
    release_then(s->r, s->key, list, sweep_step, s);
}

static void sweep_step(void *ctx, int error) {
    struct sweeping *s = ctx;
    char max[NUMBER_BYTES];
    if (error || !s->more) {
        if (s->done) s->done(s->ctx, error);
        free(s->key);
        free(s);
        return;
    }
    struct slice arg = mailbox_number(max, MAILBOX_CHUNK);
    mailbox_fcall(s->r, on_swept, s, "mailbox_sweep", s->key, 1, &arg);
}

void mailbox_sweep(struct redis *r, struct slice user, mailbox_done_fn *done, void *ctx) {
    struct sweeping *s = memory_alloc(sizeof *s);
    *s = (struct sweeping){r, mailbox_key(user), true, done, ctx};
    sweep_step(s, 0);
}

/* Figures */

struct asking {
    mailbox_stat_fn *stat;
    mailbox_done_fn *done;
    void *ctx;
};

static void on_stat(void *ctx, const redisReply *reply) {
    struct asking *a = ctx;
    int error = mailbox_reply_array(reply, 3);
    struct mailbox_stat stat = {0};
    if (!error) {
        stat.bytes = (uint64_t)redis_reply_integer(reply->element[0]);
        stat.quota_bytes = (uint64_t)redis_reply_integer(reply->element[1]);
        stat.messages = (uint64_t)redis_reply_integer(reply->element[2]);
    }
    a->stat(a->ctx, error, &stat);
    free(a);
}

void mailbox_stat(struct redis *r, struct slice user, mailbox_stat_fn *done, void *ctx) {
    char *key = mailbox_key(user);
    struct asking *a = memory_alloc(sizeof *a);
    *a = (struct asking){.stat = done, .ctx = ctx};
    mailbox_fcall(r, on_stat, a, "mailbox_stat", key, 0, NULL);
    free(key);
}

static void on_done(void *ctx, const redisReply *reply) {
    struct asking *a = ctx;
    int error = redis_reply_error(reply);
    if (a->done) a->done(a->ctx, error);
    free(a);
}

void mailbox_set_quota(struct redis *r, struct slice user, uint64_t quota_bytes, mailbox_done_fn *done, void *ctx) {
    char bytes[NUMBER_BYTES], *key = mailbox_key(user);
    struct asking *a = memory_alloc(sizeof *a);
    *a = (struct asking){.done = done, .ctx = ctx};
    struct slice arg = mailbox_number(bytes, (int64_t)quota_bytes);
    mailbox_fcall(r, on_done, a, "mailbox_set_quota", key, 1, &arg);
    free(key);
}

/* Deletion: in steps, each of which can be done again. */

struct deleting {
    struct redis *r;
    char *key;
    mailbox_done_fn *done;
    void *ctx;
    bool more;
};

static void deleting_end(struct deleting *d, int error) {
    if (d->done) d->done(d->ctx, error);
    free(d->key);
    free(d);
}

static void delete_step(void *ctx, int error);

static void on_deleted(void *ctx, const redisReply *reply) {
    struct deleting *d = ctx;
    int error = mailbox_reply_array(reply, 2);
    if (error) {
        deleting_end(d, error);
        return;
    }
    const redisReply *list = mailbox_element(reply, 0);
    d->more = (list->type == REDIS_REPLY_ARRAY && list->elements) || redis_reply_integer(reply->element[1]);
    release_then(d->r, d->key, list, delete_step, d);
}

static void delete_step(void *ctx, int error) {
    struct deleting *d = ctx;
    char max[NUMBER_BYTES];
    if (error || !d->more) {
        deleting_end(d, error);
        return;
    }
    struct slice args[] = {mailbox_number(max, MAILBOX_CHUNK), SLICE(TOMBSTONE_SECONDS)};
    mailbox_fcall(d->r, on_deleted, d, "mailbox_delete_user", d->key, 2, args);
}

void mailbox_delete_user(struct redis *r, struct slice user, mailbox_done_fn *done, void *ctx) {
    struct deleting *d = memory_alloc(sizeof *d);
    *d = (struct deleting){r, mailbox_key(user), done, ctx, true};
    delete_step(d, 0);
}
