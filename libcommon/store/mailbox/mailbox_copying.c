/* Copies of more messages than one Function copies: begun under a name, and taken back, step by
 * step, when they are not finished (RFC 9051 §6.4.7). */
#include "libcommon/store/mailbox/mailbox_private.h"

struct copying {
    struct redis *r;
    char *key;
    const char *function;
    struct buf op;
    bool more;
    mailbox_done_fn *done;
    void *ctx;
};

static void step(void *ctx, int error);

static void on_step(void *ctx, const redisReply *reply) {
    struct copying *c = ctx;
    int error = mailbox_reply_array(reply, 2);
    c->more = !error && redis_reply_integer(reply->element[1]);
    if (c->more)
        mailbox_release_then(c->r, c->key, reply->element[0], step, c);
    else
        step(c, error);
}

static void step(void *ctx, int error) {
    struct copying *c = ctx;
    if (c->more && !error) {
        char max[NUMBER_BYTES];
        struct slice args[] = {buf_slice(&c->op), mailbox_number(max, MAILBOX_CHUNK)};
        mailbox_fcall(c->r, on_step, c, c->function, c->key, 2, args);
        return;
    }
    c->done(c->ctx, error);
    buf_free(&c->op);
    free(c->key);
    free(c);
}

static void start(struct redis *r, const char *function, const char *key, struct slice op, mailbox_done_fn *done,
                  void *ctx) {
    struct copying *c = memory_alloc(sizeof *c);
    *c = (struct copying){
        .r = r, .key = memory_copy(slice_of(key)), .function = function, .more = true, .done = done, .ctx = ctx};
    buf_add_slice(&c->op, op);
    step(c, 0);
}

void mailbox_copy_begin(struct redis *r, const char *key, struct slice op, mailbox_done_fn *done, void *ctx) {
    start(r, "mailbox_copy_begin", key, op, done, ctx);
}

void mailbox_copy_undo(struct redis *r, const char *key, struct slice op, mailbox_done_fn *done, void *ctx) {
    start(r, "mailbox_copy_undo", key, op, done, ctx);
}
