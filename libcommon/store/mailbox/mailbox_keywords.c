/* The removal of keywords that no message of a folder has: all records are looked at, page by page
 * in the order of their modseqs, in which a message that changes in the meantime comes again. */
#include "libcommon/store/mailbox/mailbox_private.h"

struct collection {
    struct redis *r;
    char *key;
    uint32_t folder_id;
    int64_t after, low, high; /* the last modseq; the bits seen so far */
    mailbox_collected_fn *done;
    void *ctx;
};

static void page_step(struct collection *c);

static void on_page(void *ctx, const redisReply *reply) {
    struct collection *c = ctx;
    int error = mailbox_reply_array(reply, 5);
    if (!error && redis_reply_integer(reply->element[3])) {
        c->after = redis_reply_integer(reply->element[0]);
        c->low = redis_reply_integer(reply->element[1]);
        c->high = redis_reply_integer(reply->element[2]);
        page_step(c);
        return;
    }
    c->done(c->ctx, error, error ? 0 : (unsigned)redis_reply_integer(reply->element[4]));
    free(c->key);
    free(c);
}

static void page_step(struct collection *c) {
    char id[NUMBER_BYTES], after[NUMBER_BYTES], low[NUMBER_BYTES], high[NUMBER_BYTES], max[NUMBER_BYTES];
    struct slice args[] = {mailbox_number(id, c->folder_id), mailbox_number(after, c->after),
                           mailbox_number(low, c->low), mailbox_number(high, c->high),
                           mailbox_number(max, MAILBOX_PAGE)};
    mailbox_fcall(c->r, on_page, c, "mailbox_keywords_collect", c->key, 5, args);
}

void mailbox_keywords_collect(struct redis *r, const char *key, uint32_t folder_id, mailbox_collected_fn *done,
                              void *ctx) {
    struct collection *c = memory_alloc(sizeof *c);
    *c = (struct collection){
        .r = r, .key = memory_copy(slice_of(key)), .folder_id = folder_id, .done = done, .ctx = ctx};
    page_step(c);
}
