/* Folders: listed, made, deleted, renamed, subscribed; and one folder's changes. */
#include "libcommon/store/mailbox/mailbox_private.h"

struct folder_job {
    struct redis *r;
    char *key;
    mailbox_folders_fn *listed;
    mailbox_folder_fn *made;
    mailbox_done_fn *done;
    mailbox_names_fn *named;
    void *ctx;
    char *name; /* of a deletion */
    bool now;   /* not to be undone, because there is no room for a journal */
    /* a list of more than one page */
    struct arena *arena;
    struct mailbox_folder *folders;
    size_t count;
};

static struct folder_job *job_create(struct redis *r, struct slice user, void *ctx) {
    struct folder_job *j = memory_alloc(sizeof *j);
    j->r = r;
    j->key = mailbox_key(user);
    j->ctx = ctx;
    return j;
}

static void job_free(struct folder_job *j) {
    arena_destroy(j->arena);
    free(j->folders);
    free(j->name);
    free(j->key);
    free(j);
}

/* INBOX first, then by name. */
static int by_name(const void *one, const void *other) {
    const struct mailbox_folder *a = one, *b = other;
    bool a_inbox = slice_is(a->name, "INBOX"), b_inbox = slice_is(b->name, "INBOX");
    if (a_inbox != b_inbox) return a_inbox ? -1 : 1;
    size_t n = a->name.n < b->name.n ? a->name.n : b->name.n;
    int order = memcmp(a->name.p, b->name.p, n);
    return order ? order : (a->name.n > b->name.n) - (a->name.n < b->name.n);
}

static void ask_folders(struct folder_job *j, uint32_t after);

/* Copies the texts of a folder from the reply to the job. */
static void keep(struct folder_job *j, struct mailbox_folder *f) {
    if (!j->arena) j->arena = arena_create();
    f->name = arena_slice(j->arena, f->name);
    f->special_use = arena_slice(j->arena, f->special_use);
    for (size_t i = 0; i < f->keyword_count; i++) f->keywords[i] = arena_slice(j->arena, f->keywords[i]);
}

static void on_folders(void *ctx, const redisReply *reply) {
    struct folder_job *j = ctx;
    int error = mailbox_reply_array(reply, 2);
    bool more = !error && redis_reply_integer(reply->element[0]) != 0;
    const redisReply *list = mailbox_element(reply, 1);
    size_t room = list && list->type == REDIS_REPLY_ARRAY ? list->elements : 0;
    uint32_t last = 0;
    j->folders = memory_resize(j->folders, (j->count + room + 1) * sizeof *j->folders);
    for (size_t i = 0; i < room; i++) {
        struct mailbox_folder *f = &j->folders[j->count];
        last = (uint32_t)redis_reply_integer(mailbox_element(list->element[i], 0));
        if (!mailbox_read_folder(last, mailbox_element(list->element[i], 1), f)) continue;
        f->deleted = (uint32_t)redis_reply_integer(mailbox_element(list->element[i], 2));
        if (more) keep(j, f);
        j->count++;
    }
    if (more && last) {
        ask_folders(j, last);
        return;
    }
    if (j->count) qsort(j->folders, j->count, sizeof *j->folders, by_name);
    j->listed(j->ctx, error, error ? 0 : j->count, j->folders);
    job_free(j);
}

static void ask_folders(struct folder_job *j, uint32_t after) {
    char id[NUMBER_BYTES], max[NUMBER_BYTES];
    struct slice args[] = {mailbox_number(id, after), mailbox_number(max, MAILBOX_FOLDERS)};
    mailbox_fcall(j->r, on_folders, j, "mailbox_folders", j->key, 2, args);
}

void mailbox_folders(struct redis *r, struct slice user, mailbox_folders_fn *done, void *ctx) {
    struct folder_job *j = job_create(r, user, ctx);
    j->listed = done;
    ask_folders(j, 0);
}

static void on_made(void *ctx, const redisReply *reply) {
    struct folder_job *j = ctx;
    int error = mailbox_reply_array(reply, 2);
    if (error)
        j->made(j->ctx, error, 0, 0);
    else
        j->made(j->ctx, 0, (uint32_t)redis_reply_integer(reply->element[0]),
                (uint32_t)redis_reply_integer(reply->element[1]));
    job_free(j);
}

static void on_name_refused(void *ctx, int error) {
    struct folder_job *j = ctx;
    if (j->made)
        j->made(j->ctx, error, 0, 0);
    else if (j->listed)
        j->listed(j->ctx, error == STORE_NOT_FOUND ? 0 : error, 0, NULL);
    else
        j->done(j->ctx, error);
    job_free(j);
}

void mailbox_folder_create(struct redis *r, struct slice user, struct slice name, struct slice special_use,
                           mailbox_folder_fn *done, void *ctx) {
    char bytes[MAILBOX_NAME_MAX + 1];
    struct slice args[2];
    struct folder_job *j = job_create(r, user, ctx);
    j->made = done;
    args[1] = special_use;
    if (mailbox_name_clean(name, bytes, &args[0]))
        mailbox_fcall(r, on_made, j, "mailbox_folder_create", j->key, 2, args);
    else
        mailbox_fail_done(r, on_name_refused, j, STORE_INVALID);
}

static void on_done(void *ctx, const redisReply *reply);

static void ask_delete(struct folder_job *j) {
    char undo[NUMBER_BYTES];
    struct slice args[] = {slice_of(j->name), mailbox_undo_text(undo)};
    mailbox_fcall(j->r, on_done, j, j->now ? "mailbox_folder_delete_now" : "mailbox_folder_delete", j->key, 2, args);
}

static void on_done(void *ctx, const redisReply *reply) {
    struct folder_job *j = ctx;
    int error = redis_reply_error(reply);
    if (error == STORE_FULL && j->name && !j->now) {
        j->now = true;
        ask_delete(j);
        return;
    }
    j->done(j->ctx, error);
    if (!error && j->name) mailbox_sweep(j->r, mailbox_user_of(j->key), NULL, NULL);
    job_free(j);
}

void mailbox_folder_delete(struct redis *r, struct slice user, struct slice name, mailbox_done_fn *done, void *ctx) {
    char bytes[MAILBOX_NAME_MAX + 1];
    struct slice arg;
    struct folder_job *j = job_create(r, user, ctx);
    j->done = done;
    if (mailbox_name_clean(name, bytes, &arg)) {
        j->name = memory_copy(arg);
        ask_delete(j);
    } else {
        mailbox_fail_done(r, on_name_refused, j, STORE_NOT_FOUND);
    }
}

void mailbox_folder_rename(struct redis *r, struct slice user, struct slice from, struct slice to,
                           mailbox_done_fn *done, void *ctx) {
    char from_bytes[MAILBOX_NAME_MAX + 1], to_bytes[MAILBOX_NAME_MAX + 1], undo[NUMBER_BYTES];
    struct slice args[3];
    struct folder_job *j = job_create(r, user, ctx);
    j->done = done;
    if (!mailbox_name_clean(from, from_bytes, &args[0]))
        mailbox_fail_done(r, on_name_refused, j, STORE_NOT_FOUND);
    else if (!mailbox_name_clean(to, to_bytes, &args[1]))
        mailbox_fail_done(r, on_name_refused, j, STORE_INVALID);
    else {
        args[2] = mailbox_undo_text(undo);
        mailbox_fcall(r, on_done, j, "mailbox_folder_rename", j->key, 3, args);
    }
}

void mailbox_folder_subscribe(struct redis *r, struct slice user, struct slice name, bool subscribed,
                              mailbox_done_fn *done, void *ctx) {
    char bytes[MAILBOX_NAME_MAX + 1];
    struct slice args[2];
    struct folder_job *j = job_create(r, user, ctx);
    j->done = done;
    args[1] = subscribed ? SLICE("1") : SLICE("0");
    if (mailbox_name_clean(name, bytes, &args[0]))
        mailbox_fcall(r, on_done, j, "mailbox_folder_subscribe", j->key, 2, args);
    else
        mailbox_fail_done(r, on_name_refused, j, STORE_NOT_FOUND);
}

static void on_found(void *ctx, const redisReply *reply) {
    struct folder_job *j = ctx;
    struct mailbox_folder folder;
    int error = mailbox_reply_array(reply, 0);
    bool found = !error && reply->elements == 3 &&
                 mailbox_read_folder((uint32_t)redis_reply_integer(reply->element[0]), reply->element[1], &folder);
    if (found) folder.deleted = (uint32_t)redis_reply_integer(mailbox_element(reply, 2));
    j->listed(j->ctx, error, found, &folder);
    job_free(j);
}

void mailbox_folder_find(struct redis *r, struct slice user, struct slice name, mailbox_folders_fn *done, void *ctx) {
    char bytes[MAILBOX_NAME_MAX + 1];
    struct slice arg;
    struct folder_job *j = job_create(r, user, ctx);
    j->listed = done;
    if (mailbox_name_clean(name, bytes, &arg))
        mailbox_fcall(r, on_found, j, "mailbox_folder", j->key, 1, &arg);
    else
        mailbox_fail_done(r, on_name_refused, j, STORE_NOT_FOUND);
}

static void on_names(void *ctx, const redisReply *reply) {
    struct folder_job *j = ctx;
    int error = mailbox_reply_array(reply, 0);
    size_t count = error ? 0 : reply->elements;
    struct slice *names = memory_alloc((count + 1) * sizeof *names);
    for (size_t i = 0; i < count; i++) names[i] = redis_reply_slice(reply->element[i]);
    j->named(j->ctx, error, count, names);
    free(names);
    job_free(j);
}

void mailbox_subscribed_gone(struct redis *r, struct slice user, mailbox_names_fn *done, void *ctx) {
    struct folder_job *j = job_create(r, user, ctx);
    j->named = done;
    mailbox_fcall(r, on_names, j, "mailbox_subscribed_gone", j->key, 0, NULL);
}
