/* Reads columns: one command for each column, all at once. Texts that are not there are completed:
 * those of records of version 1 are moved to the columns, and those that were too large to keep, or
 * that an earlier version did not compute, are computed message by message. */
#include "libcommon/store/mailbox/mailbox_private.h"

enum { KEY_MAX = 300 };

struct caching {
    struct redis *r;
    char *key;
    uint32_t folder_id;
    unsigned columns;
    mailbox_cached_fn *done;
    void *ctx;
    struct arena *arena; /* of the texts */
    struct mailbox_cached *cached;
    bool *there; /* for each uid */
    bool migrated, incomplete;
    int waiting, error;
    size_t at, column; /* of the text that is computed */
    size_t count;
    uint32_t uids[];
};

static void caching_end(struct caching *c) {
    size_t found = 0;
    for (size_t i = 0; i < c->count && !c->error; i++) {
        if (!c->there[i]) continue;
        c->cached[found] = c->cached[i];
        struct mailbox_cached *one = &c->cached[found++];
        one->uid = c->uids[i];
        one->preview = slice_skip(one->preview, 1); /* its mark */
    }
    c->done(c->ctx, c->error, found, c->cached);
    arena_destroy(c->arena);
    free(c->cached);
    free(c->there);
    free(c->key);
    free(c);
}

static void complete_next(struct caching *c);

static void on_whole(void *ctx, int error, struct slice message) {
    struct caching *c = ctx;
    if (error && error != STORE_NOT_FOUND) c->error = error;
    if (error) {
        c->there[c->at] = false; /* removed in the meantime */
    } else {
        struct buf text = {0};
        mailbox_column_build(c->column, message, SIZE_MAX, &text);
        *mailbox_cached_text(&c->cached[c->at], c->column) = arena_slice(c->arena, buf_slice(&text));
        if (text.n && text.n <= MAILBOX_CACHED_MAX) {
            char folder[NUMBER_BYTES], uid[NUMBER_BYTES];
            struct slice args[] = {mailbox_number(folder, c->folder_id), mailbox_number(uid, c->uids[c->at]),
                                   slice_make(&mailbox_column_letters[c->column], 1), buf_slice(&text)};
            mailbox_fcall(c->r, NULL, NULL, "mailbox_complete", c->key, 4, args);
        }
        buf_free(&text);
        c->column++;
    }
    complete_next(c);
}

static void complete_next(struct caching *c) {
    for (; c->at < c->count && !c->error; c->at++, c->column = 0) {
        for (; c->there[c->at] && c->column < MAILBOX_COLUMNS; c->column++) {
            if (!(c->columns >> c->column & 1) || mailbox_cached_text(&c->cached[c->at], c->column)->n) continue;
            mailbox_read(c->r, mailbox_user_of(c->key), c->folder_id, c->uids[c->at], on_whole, c);
            return;
        }
    }
    caching_end(c);
}

static void ask(struct caching *c);

static void on_migrated(void *ctx, const redisReply *reply) {
    struct caching *c = ctx;
    c->error = redis_reply_error(reply);
    if (c->error || !redis_reply_integer(reply))
        complete_next(c);
    else
        ask(c);
}

/* All columns are there, as far as they are. */
static void asked(struct caching *c) {
    size_t missing = 0;
    uint32_t *uids = memory_alloc((c->count + 1) * sizeof *uids);
    for (size_t i = 0; i < c->count; i++)
        if (!c->there[i]) uids[missing++] = c->uids[i];
    if (missing && !c->migrated && !c->error) {
        char folder[NUMBER_BYTES];
        struct buf packed = mailbox_pack_uids(missing, uids);
        struct slice args[] = {mailbox_number(folder, c->folder_id), buf_slice(&packed)};
        c->migrated = true;
        mailbox_fcall(c->r, on_migrated, c, "mailbox_migrate", c->key, 2, args);
        buf_free(&packed);
    } else {
        complete_next(c);
    }
    free(uids);
}

static void keep_texts(struct caching *c, size_t column) {
    size_t bytes = 0;
    for (size_t i = 0; i < c->count; i++) bytes += mailbox_cached_text(&c->cached[i], column)->n;
    char *room = arena_alloc(c->arena, bytes + 1);
    for (size_t i = 0; i < c->count; i++) {
        struct slice *text = mailbox_cached_text(&c->cached[i], column);
        if (text->n) memcpy(room, text->p, text->n);
        text->p = room;
        room += text->n;
    }
}

struct column_read {
    struct caching *caching;
    size_t column;
};

static void on_column(void *ctx, const redisReply *reply) {
    struct column_read *read = ctx;
    struct caching *c = read->caching;
    int error = mailbox_reply_array(reply, c->count);
    if (error) c->error = error;
    for (size_t i = 0; i < c->count && !error; i++) {
        struct slice text = redis_reply_slice(reply->element[i]);
        if (reply->element[i]->type != REDIS_REPLY_STRING) c->there[i] = false;
        if (!text.n) c->incomplete = true;
        *mailbox_cached_text(&c->cached[i], read->column) = text;
    }
    /* The texts of the last column are told from the reply itself, when nothing is to be completed. */
    if (!error && (c->waiting > 1 || c->incomplete)) keep_texts(c, read->column);
    free(read);
    if (!--c->waiting) asked(c);
}

static void ask(struct caching *c) {
    char key[KEY_MAX], (*numbers)[NUMBER_BYTES] = memory_alloc((c->count + 1) * sizeof *numbers);
    struct slice *words = memory_alloc((c->count + 2) * sizeof *words);
    words[0] = SLICE("HMGET");
    for (size_t i = 0; i < c->count; i++) {
        words[i + 2] = mailbox_number(numbers[i], c->uids[i]);
        c->there[i] = true;
    }
    for (size_t i = 0; i < MAILBOX_COLUMNS; i++)
        if (c->columns >> i & 1) c->waiting++;
    for (size_t i = 0; i < MAILBOX_COLUMNS; i++) {
        if (!(c->columns >> i & 1)) continue;
        int n = snprintf(key, sizeof key, "%s:f:%u:%c", c->key, c->folder_id, mailbox_column_letters[i]);
        words[1] = slice_make(key, (size_t)n < sizeof key ? (size_t)n : sizeof key - 1);
        struct column_read *read = memory_alloc(sizeof *read);
        *read = (struct column_read){c, i};
        redis_command(c->r, on_column, read, c->count + 2, words);
    }
    free(words);
    free(numbers);
}

static void on_nothing(void *ctx, int error) {
    struct caching *c = ctx;
    c->error = error;
    caching_end(c);
}

void mailbox_cached(struct redis *r, struct slice user, uint32_t folder_id, unsigned columns, size_t count,
                    const uint32_t uids[], mailbox_cached_fn *done, void *ctx) {
    struct caching *c = memory_alloc(sizeof *c + count * sizeof *uids);
    *c = (struct caching){.r = r,
                          .key = mailbox_key(user),
                          .folder_id = folder_id,
                          .columns = columns,
                          .done = done,
                          .ctx = ctx,
                          .arena = arena_create(),
                          .count = count};
    if (count) memcpy(c->uids, uids, count * sizeof *uids);
    c->cached = memory_alloc((count + 1) * sizeof *c->cached);
    c->there = memory_alloc(count + 1);
    if (count && columns)
        ask(c);
    else
        mailbox_fail_done(r, on_nothing, c, 0);
}
