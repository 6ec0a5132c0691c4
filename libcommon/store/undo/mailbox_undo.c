/* The journal's list, an account's setting, and what is too old. */
#include "libcommon/store/undo/mailbox_journal.h"

enum { TRIM_AT_ONCE = 20 };

/* The list */

struct listing {
    struct redis *r;
    char *key;
    size_t max;
    struct journal *journal;
    mailbox_removed_fn *done;
    void *ctx;
};

static void listing_end(struct listing *l, int error, size_t count, const struct mailbox_removed removed[]) {
    l->done(l->ctx, error, &l->journal->stat, count, removed);
    mailbox_journal_free(l->journal);
    free(l->key);
    free(l);
}

static struct slice name_of(size_t count, const struct mailbox_folder folders[], const struct journal *j, uint32_t id) {
    struct journal_folder f;
    for (size_t i = 0; i < count; i++)
        if (folders[i].id == id) return folders[i].name;
    for (size_t i = j->count; i-- > 0;)
        if (j->entries[i].kind == 'd' && j->entries[i].folder == id && journal_folder_read(j->entries[i].value, &f))
            return f.name;
    return SLICE("");
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct listing *l = ctx;
    const struct journal *j = l->journal;
    struct mailbox_removed *out = memory_alloc((l->max + 1) * sizeof *out);
    size_t n = 0;
    for (size_t i = j->count; i-- > 0 && !error;) {
        const struct journal_entry *e = &j->entries[i];
        struct mailbox_record record;
        struct journal_folder f;
        struct slice rest = e->value;
        if (e->kind == 'd' && n < l->max && journal_folder_read(e->value, &f))
            out[n++] = (struct mailbox_removed){.at = e->at, .folder = f.name, .messages = f.messages};
        while (e->kind == 'r' && n < l->max && journal_take_removed(&rest, &record)) {
            out[n] = (struct mailbox_removed){.at = e->at,
                                              .folder = name_of(count, folders, j, e->folder),
                                              .uid = record.uid,
                                              .size = record.size,
                                              .date = record.date};
            memcpy(out[n++].blob, record.blob, sizeof record.blob);
        }
    }
    listing_end(l, error, error ? 0 : n, out);
    free(out);
}

static void on_journal(void *ctx, int error, struct journal *j) {
    struct listing *l = ctx;
    l->journal = j;
    if (error)
        listing_end(l, error, 0, NULL);
    else
        mailbox_folders(l->r, mailbox_user_of(l->key), on_folders, l);
}

void mailbox_removed(struct redis *r, struct slice user, size_t max, mailbox_removed_fn *done, void *ctx) {
    struct listing *l = memory_alloc(sizeof *l);
    *l = (struct listing){.r = r, .key = mailbox_key(user), .max = max, .done = done, .ctx = ctx};
    mailbox_journal_read(r, l->key, 0, on_journal, l);
}

/* The setting of an account */

struct setting {
    mailbox_done_fn *done;
    void *ctx;
};

static void on_set(void *ctx, const redisReply *reply) {
    struct setting *s = ctx;
    s->done(s->ctx, redis_reply_error(reply));
    free(s);
}

void mailbox_undo_set(struct redis *r, struct slice user, int64_t seconds, mailbox_done_fn *done, void *ctx) {
    char text[NUMBER_BYTES], *key = mailbox_key(user);
    struct setting *s = memory_alloc(sizeof *s);
    *s = (struct setting){done, ctx};
    struct slice arg = seconds < 0 ? SLICE("") : mailbox_number(text, seconds);
    mailbox_fcall(r, on_set, s, "mailbox_undo_set", key, 1, &arg);
    free(key);
}

/* What is too old */

struct trimming {
    struct redis *r;
    char *key;
    int64_t most_s;
    mailbox_done_fn *done;
    void *ctx;
};

static void trim_step(struct trimming *t);

static void trimming_end(void *ctx, int error) {
    struct trimming *t = ctx;
    t->done(t->ctx, error);
    free(t->key);
    free(t);
}

static void on_trimmed(void *ctx, const redisReply *reply) {
    struct trimming *t = ctx;
    int error = mailbox_reply_array(reply, 2);
    if (!error) mailbox_release(t->r, t->key, reply->element[0]);
    if (!error && redis_reply_integer(reply->element[1]))
        trim_step(t);
    else if (error)
        trimming_end(t, error);
    else
        mailbox_sweep(t->r, mailbox_user_of(t->key), trimming_end, t); /* folders that are given up */
}

static void trim_step(struct trimming *t) {
    char undo[NUMBER_BYTES], most[NUMBER_BYTES], max[NUMBER_BYTES];
    struct slice args[] = {mailbox_undo_text(undo), mailbox_number(most, t->most_s), mailbox_number(max, TRIM_AT_ONCE)};
    mailbox_fcall(t->r, on_trimmed, t, "mailbox_undo_trim", t->key, 3, args);
}

void mailbox_undo_trim(struct redis *r, struct slice user, int64_t most_s, mailbox_done_fn *done, void *ctx) {
    struct trimming *t = memory_alloc(sizeof *t);
    *t = (struct trimming){r, mailbox_key(user), most_s, done, ctx};
    trim_step(t);
}
