/* A user's mailbox as a whole: totals, quota, deletion. */
#include "libcommon/store/mailbox/mailbox_private.h"

#include "libcommon/base/ulid.h"

/* TOMBSTONE_SECONDS: longer than any message stays in the queue. */
#define TOMBSTONE_SECONDS "2592000"

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
    mailbox_release_then(s->r, s->key, list, sweep_step, s);
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

/* Copies that were given up are taken back first. */
void mailbox_sweep(struct redis *r, struct slice user, mailbox_done_fn *done, void *ctx) {
    struct sweeping *s = memory_alloc(sizeof *s);
    *s = (struct sweeping){r, mailbox_key(user), true, done, ctx};
    mailbox_copy_begin(r, s->key, SLICE(""), sweep_step, s);
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
    mailbox_release_then(d->r, d->key, list, delete_step, d);
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
