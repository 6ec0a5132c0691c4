/* Messages put back. The journal is read, then each folder after the other: what it had at the
 * moment is found (the plan), the target is found or made, what the target has already is left out,
 * and the rest is put back in steps of CHUNK messages, each one Function. */
#include "libcommon/store/undo/mailbox_restore.h"

enum { CHUNK = 50, PAGE = 500, PUT_FIRST = 2, PUT_EACH = 5, BUFFERS = 4 };

static void next_folder(struct restoring *o);

static void restoring_end(struct restoring *o, int error) {
    struct mailbox_restored result = o->result;
    result.folders = o->touched;
    result.folder_count = o->touched_count;
    if (!error && o->found == 0 && (o->what.folder.n || o->what.message_count)) error = STORE_NOT_FOUND;
    o->done(o->ctx, error, &result);
    if (o->journal) mailbox_journal_free(o->journal);
    for (size_t i = 0; i < o->folder_count; i++) free(o->folders[i].items);
    arena_destroy(o->arena);
    free(o->states);
    free(o->folders);
    free(o->touched);
    free(o->live.all);
    free(o->taken);
    free(o->key);
    free(o);
}

static void touch(struct restoring *o) {
    o->touched[o->touched_count] = o->target;
    if (!o->touched_count || o->touched[o->touched_count - 1] != o->target) o->touched_count++;
}

/* 5. Flags, of one value after the other */

static void flags_next(struct restoring *o);

static void on_flags(void *ctx, int error, uint32_t keyword_generation, size_t changed_count,
                     const struct mailbox_record changed[], size_t refused_count, const uint32_t refused[]) {
    struct restoring *o = ctx;
    (void)keyword_generation, (void)changed, (void)refused_count, (void)refused;
    if (error) {
        restoring_end(o, error);
        return;
    }
    if (changed_count) touch(o);
    o->result.flags += changed_count;
    flags_next(o);
}

static void flags_next(struct restoring *o) {
    struct plan_folder *f = &o->folders[o->at];
    struct slice words[MAILBOX_KEYWORDS_MAX], all[MAILBOX_KEYWORDS_MAX], rest = f->keywords;
    size_t count = 0, known = 0, n = 0;
    while (o->item < f->count && f->items[o->item].what != ITEM_FLAGS) o->item++;
    if (o->item == f->count) {
        o->at++;
        next_folder(o);
        return;
    }
    uint64_t flags = f->items[o->item].flags;
    uint32_t *uids = memory_alloc((f->count - o->item) * sizeof *uids);
    for (size_t i = o->item; i < f->count; i++) {
        if (f->items[i].what != ITEM_FLAGS || f->items[i].flags != flags) continue;
        uids[n++] = f->items[i].present;
        f->items[i].what = ITEM_DONE;
    }
    for (struct slice word; rest.n && known < MAILBOX_KEYWORDS_MAX; known++) {
        if (!slice_cut(&rest, ' ', &word)) {
            word = rest;
            rest.n = 0;
        }
        all[known] = word;
    }
    for (size_t i = 0; i < known; i++)
        if (flags >> (MAILBOX_KEYWORD_SHIFT + i) & 1 && !slice_is(all[i], "(")) words[count++] = all[i];
    mailbox_store(o->r, mailbox_user_of(o->key), o->target, n, uids, MAILBOX_REPLACE, flags & 0xff, count, words, 0,
                  on_flags, o);
    free(uids);
}

/* 4. Put back */

static void put_next(struct restoring *o);

static void on_put(void *ctx, const redisReply *reply) {
    struct restoring *o = ctx;
    int error = mailbox_reply_array(reply, 2);
    if (error) {
        restoring_end(o, error);
        return;
    }
    struct slice uids = redis_reply_slice(reply->element[1]);
    for (size_t i = 0; i + 4 <= uids.n; i += 4) o->result.messages += mailbox_u32(uids.p + i) != 0;
    touch(o);
    put_next(o);
}

static void put_next(struct restoring *o) {
    struct plan_folder *f = &o->folders[o->at];
    struct slice args[PUT_FIRST + PUT_EACH * CHUNK];
    char numbers[CHUNK][BUFFERS][NUMBER_BYTES], target[NUMBER_BYTES];
    size_t n = 0;
    args[0] = mailbox_number(target, o->target);
    args[1] = f->keywords;
    for (; o->item < f->count && n < CHUNK; o->item++) {
        const struct plan_item *item = &f->items[o->item];
        struct slice *to = args + PUT_FIRST + PUT_EACH * n;
        if (item->what != ITEM_PUT) continue;
        to[0] = item->entry;
        to[1] = mailbox_number(numbers[n][0], item->folder);
        to[2] = mailbox_number(numbers[n][1], item->uid);
        to[3] = mailbox_number(numbers[n][2], (int64_t)(item->flags & UINT32_MAX));
        to[4] = mailbox_number(numbers[n][3], (int64_t)(item->flags >> 32));
        n++;
    }
    if (n) {
        mailbox_fcall(o->r, on_put, o, "mailbox_put_back", o->key, PUT_FIRST + PUT_EACH * n, args);
        return;
    }
    o->item = 0;
    flags_next(o);
}

/* 3. What the target has */

static int by_message(const void *one, const void *other) {
    const struct mailbox_record *a = one, *b = other;
    int order = memcmp(a->blob, b->blob, sizeof a->blob);
    if (order) return order;
    if (a->variant != b->variant) return a->variant < b->variant ? -1 : 1;
    return (a->uid > b->uid) - (a->uid < b->uid);
}

/* The number of a message of the target that is this one: with this uid, or else (uid 0) one that no
 * other item is; SIZE_MAX: there is none. */
static size_t live_find(const struct restoring *o, const struct plan_item *item, uint32_t uid) {
    struct mailbox_record like = {.variant = item->variant, .uid = uid};
    memcpy(like.blob, item->blob, sizeof like.blob);
    size_t low = 0, high = o->live.count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (by_message(&o->live.all[mid], &like) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < o->live.count; low++) {
        const struct mailbox_record *live = &o->live.all[low];
        if (memcmp(live->blob, like.blob, sizeof like.blob) != 0 || live->variant != like.variant) break;
        if (uid && live->uid != uid) break;
        if (!o->taken[low]) return low;
    }
    return SIZE_MAX;
}

static void item_is(struct restoring *o, struct plan_item *item, size_t live) {
    const struct mailbox_record *there = &o->live.all[live];
    o->taken[live] = true;
    item->present = there->uid;
    /* flags of both are numbered alike only in one folder; elsewhere they are set again, which
     * changes nothing where they are the same */
    bool same = item->folder == o->target && there->flags == item->flags;
    item->what = o->what.at && !same ? ITEM_FLAGS : ITEM_DONE;
    o->result.present++;
}

static void on_target(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                      const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct restoring *o = ctx;
    struct plan_folder *f = &o->folders[o->at];
    (void)folder, (void)full, (void)vanished_count, (void)vanished;
    if (error) {
        restoring_end(o, error);
        return;
    }
    free(o->live.all);
    free(o->taken);
    o->live.all = memory_alloc((count + 1) * sizeof *records);
    o->taken = memory_alloc(count + 1);
    o->live.count = count;
    if (count) {
        memcpy(o->live.all, records, count * sizeof *records);
        qsort(o->live.all, count, sizeof *records, by_message);
    }
    /* first each message that is still where it was, then those that came back in another way */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < f->count; i++) {
            struct plan_item *item = &f->items[i];
            size_t live = item->what == ITEM_PUT && (pass || item->folder == o->target)
                              ? live_find(o, item, pass ? 0 : item->uid)
                              : SIZE_MAX;
            if (live != SIZE_MAX) item_is(o, item, live);
        }
    }
    o->item = 0;
    put_next(o);
}

static void on_target_folder(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct restoring *o = ctx;
    if (error || !count) {
        restoring_end(o, error ? error : STORE_NOT_FOUND);
        return;
    }
    o->target = folders[0].id;
    mailbox_sync(o->r, mailbox_user_of(o->key), o->target, 0, on_target, o);
}

static void on_made(void *ctx, int error, uint32_t folder_id, uint32_t uidvalidity) {
    struct restoring *o = ctx;
    (void)folder_id, (void)uidvalidity;
    if (error && error != STORE_EXISTS)
        restoring_end(o, error);
    else
        mailbox_folder_find(o->r, mailbox_user_of(o->key), o->target_name, on_target_folder, o);
}

static void target_find(struct restoring *o) {
    struct plan_folder *f = &o->folders[o->at];
    if (!o->what.beside.n && !f->deleted) {
        o->target = f->id;
        mailbox_sync(o->r, mailbox_user_of(o->key), o->target, 0, on_target, o);
        return;
    }
    o->target_name = f->name;
    if (o->what.beside.n)
        o->target_name = slice_of(
            arena_printf(o->arena, "%.*s/%.*s", (int)o->what.beside.n, o->what.beside.p, (int)f->name.n, f->name.p));
    mailbox_folder_create(o->r, mailbox_user_of(o->key), o->target_name, o->what.beside.n ? SLICE("") : f->special_use,
                          on_made, o);
}

/* 2. What a folder had */

static void folder_planned(struct restoring *o) {
    struct plan_folder *f = &o->folders[o->at];
    plan_removed(o, f);
    plan_settle(o, f);
    bool named = o->what.folder.n && !o->what.message_count; /* an empty one is made again too */
    if (f->count || (named && f->deleted)) {
        o->found++;
        target_find(o);
        return;
    }
    o->at++;
    next_folder(o);
}

static void on_live(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                    const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct restoring *o = ctx;
    struct plan_folder *f = &o->folders[o->at];
    (void)folder, (void)full, (void)vanished_count, (void)vanished;
    if (error) {
        restoring_end(o, error);
        return;
    }
    for (size_t i = 0; i < count; i++) plan_add(o, f, &records[i], SLICE(""));
    folder_planned(o);
}

static void ask_kept(struct restoring *o, struct slice cursor);

static void on_kept(void *ctx, const redisReply *reply) {
    struct restoring *o = ctx;
    int error = mailbox_reply_array(reply, 2);
    if (error) {
        restoring_end(o, error);
        return;
    }
    struct slice cursor = redis_reply_slice(reply->element[0]), packed = redis_reply_slice(reply->element[1]);
    struct mailbox_record record;
    while (mailbox_take_record(&packed, &record)) plan_add(o, &o->folders[o->at], &record, SLICE(""));
    if (slice_is(cursor, "0"))
        folder_planned(o);
    else
        ask_kept(o, cursor);
}

static void ask_kept(struct restoring *o, struct slice cursor) {
    char id[NUMBER_BYTES], max[NUMBER_BYTES];
    struct slice args[] = {mailbox_number(id, o->folders[o->at].id), cursor, mailbox_number(max, PAGE)};
    mailbox_fcall(o->r, on_kept, o, "mailbox_kept_page", o->key, 3, args);
}

static void next_folder(struct restoring *o) {
    if (o->at == o->folder_count) {
        restoring_end(o, 0);
        return;
    }
    const struct plan_folder *f = &o->folders[o->at];
    if (f->deleted)
        ask_kept(o, SLICE("0"));
    else if (o->what.at)
        mailbox_sync(o->r, mailbox_user_of(o->key), f->id, 0, on_live, o);
    else
        folder_planned(o); /* of a folder that is there, only what was removed */
}

/* 1. Which folders */

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct restoring *o = ctx;
    if (error) {
        restoring_end(o, error);
        return;
    }
    plan_folders(o, count, folders);
    o->touched = memory_alloc((2 * o->folder_count + 1) * sizeof *o->touched);
    next_folder(o);
}

static void on_journal(void *ctx, int error, struct journal *j) {
    struct restoring *o = ctx;
    o->journal = j;
    if (!error && o->what.at && o->what.at < j->stat.from) error = STORE_CONFLICT;
    if (error) {
        o->found = 1;
        restoring_end(o, error);
        return;
    }
    o->states = journal_states(j, &o->state_count);
    mailbox_folders(o->r, mailbox_user_of(o->key), on_folders, o);
}

static void on_refused(void *ctx, int error) {
    struct restoring *o = ctx;
    restoring_end(o, error);
}

void mailbox_restore(struct redis *r, struct slice user, const struct mailbox_restore *what, mailbox_restored_fn *done,
                     void *ctx) {
    struct restoring *o = memory_alloc(sizeof *o);
    char bytes[MAILBOX_NAME_MAX + 1];
    struct slice clean;
    *o = (struct restoring){.r = r, .key = mailbox_key(user), .done = done, .ctx = ctx, .arena = arena_create()};
    o->what.at = what->at;
    o->what.folder = arena_slice(o->arena, what->folder);
    o->what.beside = arena_slice(o->arena, what->beside);
    o->what.message_count = what->message_count;
    struct slice *messages = arena_alloc(o->arena, (what->message_count + 1) * sizeof *messages);
    for (size_t i = 0; i < what->message_count; i++) messages[i] = arena_slice(o->arena, what->messages[i]);
    o->what.messages = messages;
    bool named = what->folder.n || what->message_count;
    if ((!what->at && !named) || what->at < 0 || what->message_count > MAILBOX_RESTORE_MESSAGES ||
        (what->beside.n && !mailbox_name_clean(what->beside, bytes, &clean)))
        mailbox_fail_done(r, on_refused, o, STORE_INVALID);
    else
        mailbox_journal_read(r, o->key, what->at, on_journal, o);
}
