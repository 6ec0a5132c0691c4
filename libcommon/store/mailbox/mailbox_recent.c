/* Which messages were told to a session before (\Recent of RFC 3501). */
#include "libcommon/store/mailbox/mailbox_private.h"

struct recent_job {
    mailbox_recent_fn *done;
    void *ctx;
    char *key;
};

static void on_recent(void *ctx, const redisReply *reply) {
    struct recent_job *j = ctx;
    int error = mailbox_reply_array(reply, 1);
    j->done(j->ctx, error, error ? 0 : (uint32_t)redis_reply_integer(reply->element[0]));
    free(j->key);
    free(j);
}

void mailbox_recent(struct redis *r, struct slice user, uint32_t folder_id, uint32_t below, mailbox_recent_fn *done,
                    void *ctx) {
    char id[NUMBER_BYTES], bound[NUMBER_BYTES];
    struct recent_job *j = memory_alloc(sizeof *j);
    *j = (struct recent_job){done, ctx, mailbox_key(user)};
    struct slice args[] = {mailbox_number(id, folder_id), mailbox_number(bound, below)};
    mailbox_fcall(r, on_recent, j, "mailbox_recent", j->key, 2, args);
}
