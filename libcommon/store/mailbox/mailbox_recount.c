/* The recount of a mailbox: every folder's records page by page, then the totals, if nothing has
 * changed in the meantime. */
#include "libcommon/store/mailbox/mailbox_janitor.h"
#include "libcommon/store/mailbox/mailbox_private.h"

/* FOLDERS_A_STEP: whose figures one Function compares. FIXED: its arguments before them. */
enum { RECORDS_A_PAGE = 500, FOLDERS_A_STEP = 100, FIXED = 5, PER_FOLDER = 4 };

struct counted {
    char id[NUMBER_BYTES];
    int64_t messages, bytes, unseen;
};

struct recount {
    struct redis *r;
    char *key, modseq[NUMBER_BYTES], after[NUMBER_BYTES];
    int64_t now_s, messages, bytes;
    bool wrong;
    size_t count, at;
    struct counted *folders;
    janitor_count_fn *done;
    void *ctx;
};

static void end(struct recount *c, int error, enum janitor_count result) {
    c->done(c->ctx, error, result);
    free(c->folders);
    free(c->key);
    free(c);
}

static void copy_text(char out[NUMBER_BYTES], const redisReply *reply) {
    struct slice s = redis_reply_slice(reply);
    snprintf(out, NUMBER_BYTES, "%.*s", SLICE_FMT(s));
}

static void compare_step(struct recount *c);

static void on_compared(void *ctx, const redisReply *reply) {
    struct recount *c = ctx;
    int error = redis_reply_error(reply);
    long long result = redis_reply_integer(reply);
    if (error || result < 0) {
        end(c, error, JANITOR_CHANGED);
        return;
    }
    c->wrong = c->wrong || result > 0;
    if (c->at < c->count)
        compare_step(c);
    else
        end(c, 0, c->wrong ? JANITOR_WRONG : JANITOR_RIGHT);
}

static void compare_step(struct recount *c) {
    char number[FIXED][NUMBER_BYTES], figures[FOLDERS_A_STEP][PER_FOLDER][NUMBER_BYTES];
    struct slice args[FIXED + PER_FOLDER * FOLDERS_A_STEP];
    size_t n = c->count - c->at < FOLDERS_A_STEP ? c->count - c->at : FOLDERS_A_STEP, argc = FIXED;
    bool last = c->at + n == c->count;
    args[0] = slice_of(c->modseq);
    args[1] = mailbox_number(number[1], (int64_t)c->count);
    args[2] = last ? mailbox_number(number[2], c->now_s) : SLICE("");
    args[3] = mailbox_number(number[3], c->messages);
    args[4] = mailbox_number(number[4], c->bytes);
    for (size_t i = 0; i < n; i++) {
        const struct counted *f = &c->folders[c->at + i];
        args[argc++] = slice_of(f->id);
        args[argc++] = mailbox_number(figures[i][1], f->messages);
        args[argc++] = mailbox_number(figures[i][2], f->bytes);
        args[argc++] = mailbox_number(figures[i][3], f->unseen);
    }
    c->at += n;
    mailbox_fcall(c->r, on_compared, c, "janitor_count_end", c->key, argc, args);
}

static void page_step(struct recount *c);

static void on_page(void *ctx, const redisReply *reply) {
    struct recount *c = ctx;
    int error = mailbox_reply_array(reply, 6);
    if (error) {
        end(c, error, JANITOR_CHANGED);
        return;
    }
    struct counted *f = &c->folders[c->at];
    f->messages += redis_reply_integer(reply->element[0]);
    f->bytes += redis_reply_integer(reply->element[1]);
    f->unseen += redis_reply_integer(reply->element[2]);
    copy_text(c->after, reply->element[3]);
    if (!redis_reply_integer(reply->element[4])) {
        /* The records and the index by modseq differ: the folder changed, or it is damaged; then no
         * total is changed. */
        if (redis_reply_integer(reply->element[5]) != f->messages) {
            end(c, 0, JANITOR_CHANGED);
            return;
        }
        c->messages += f->messages;
        c->bytes += f->bytes;
        c->at++;
        strcpy(c->after, "0");
    }
    page_step(c);
}

static void page_step(struct recount *c) {
    if (c->at == c->count) {
        c->at = 0;
        compare_step(c);
        return;
    }
    char max[NUMBER_BYTES];
    struct slice args[] = {slice_of(c->folders[c->at].id), slice_of(c->after), mailbox_number(max, RECORDS_A_PAGE)};
    mailbox_fcall(c->r, on_page, c, "janitor_count_page", c->key, 3, args);
}

static void on_begun(void *ctx, const redisReply *reply) {
    struct recount *c = ctx;
    int error = mailbox_reply_array(reply, 2);
    const redisReply *list = mailbox_element(reply, 1);
    if (error || !list || list->type != REDIS_REPLY_ARRAY) {
        end(c, error ? error : STORE_INVALID, JANITOR_CHANGED);
        return;
    }
    copy_text(c->modseq, reply->element[0]);
    strcpy(c->after, "0");
    c->count = list->elements;
    c->folders = memory_alloc((c->count + 1) * sizeof *c->folders);
    for (size_t i = 0; i < c->count; i++) copy_text(c->folders[i].id, list->element[i]);
    page_step(c);
}

void janitor_recount(struct redis *r, struct slice user, int64_t now_s, janitor_count_fn *done, void *ctx) {
    struct recount *c = memory_alloc(sizeof *c);
    *c = (struct recount){.r = r, .key = mailbox_key(user), .now_s = now_s, .done = done, .ctx = ctx};
    mailbox_fcall(r, on_begun, c, "janitor_count_begin", c->key, 0, NULL);
}
