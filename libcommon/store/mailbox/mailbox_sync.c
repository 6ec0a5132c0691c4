/* A folder's changes, page by page: a first sync of a large folder never holds Redis for longer
 * than one page. */
#include "libcommon/store/mailbox/mailbox_private.h"

enum { RESTARTS_MAX = 3 };

/* Pages come in modseq order, first of records, then of vanished uids. A record that changes
 * between two pages is returned again in a later page; one that vanishes between them is in the
 * list of a later page. So the records after the last page are one consistent state. */
struct syncing {
    struct redis *r;
    mailbox_sync_fn *done;
    void *ctx;
    char *key;
    uint32_t folder_id;
    uint64_t asked_since, since, vanished_since;
    bool first, full;
    int restarts;
    struct mailbox_records records;
    struct buf vanished; /* packed */
};

static void on_page(void *ctx, const redisReply *reply);

static void ask_page(struct syncing *s) {
    char folder[NUMBER_BYTES], since[NUMBER_BYTES], vanished[NUMBER_BYTES], max[NUMBER_BYTES];
    struct slice args[] = {mailbox_number(folder, s->folder_id), mailbox_number(since, (int64_t)s->since),
                           mailbox_number(vanished, (int64_t)s->vanished_since), s->first ? SLICE("1") : SLICE("0"),
                           mailbox_number(max, MAILBOX_PAGE)};
    mailbox_fcall(s->r, on_page, s, "mailbox_sync", s->key, 5, args);
}

static void start(struct syncing *s, uint64_t since) {
    s->since = s->vanished_since = since;
    s->first = true;
    s->full = false;
    s->records.count = 0;
    buf_reset(&s->vanished);
    ask_page(s);
}

static void end(struct syncing *s, int error, const struct mailbox_folder *folder, size_t vanished_count,
                const uint32_t vanished[]) {
    s->done(s->ctx, error, folder, s->full, error ? 0 : s->records.count, s->records.all, vanished_count, vanished);
    buf_free(&s->vanished);
    free(s->records.all);
    free(s->key);
    free(s);
}

/* By uid; of two records with one uid, the newer first. */
static int by_uid(const void *one, const void *other) {
    const struct mailbox_record *a = one, *b = other;
    if (a->uid != b->uid) return a->uid < b->uid ? -1 : 1;
    return (a->modseq < b->modseq) - (a->modseq > b->modseq);
}

static int by_number(const void *one, const void *other) {
    const uint32_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

/* Uid order, each uid once, none that is in vanished (sorted). */
static void settle(struct syncing *s, size_t vanished_count, const uint32_t vanished[]) {
    size_t kept = 0, gone = 0;
    bool sorted = true;
    struct mailbox_record *all = s->records.all;
    for (size_t i = 1; i < s->records.count && sorted; i++) sorted = all[i - 1].uid < all[i].uid;
    if (!sorted) qsort(all, s->records.count, sizeof *all, by_uid);
    for (size_t i = 0; i < s->records.count; i++) {
        uint32_t uid = all[i].uid;
        while (gone < vanished_count && vanished[gone] < uid) gone++;
        if ((gone < vanished_count && vanished[gone] == uid) || (kept && all[kept - 1].uid == uid)) continue;
        all[kept++] = all[i];
    }
    s->records.count = kept;
}

static void on_page(void *ctx, const redisReply *reply) {
    struct syncing *s = ctx;
    struct mailbox_folder folder;
    int error = mailbox_reply_array(reply, 7);
    if (error == STORE_CONFLICT && s->restarts++ < RESTARTS_MAX) {
        start(s, s->asked_since);
        return;
    }
    if (!error && !mailbox_read_folder(s->folder_id, reply->element[0], &folder)) error = STORE_NOT_FOUND;
    if (error) {
        end(s, error, NULL, 0, NULL);
        return;
    }
    mailbox_records_add(&s->records, redis_reply_slice(reply->element[2]));
    if (s->first) {
        s->full = redis_reply_integer(reply->element[1]) != 0;
        if (s->full) s->vanished_since = folder.highestmodseq;
    }
    struct slice some = redis_reply_slice(reply->element[4]);
    buf_add_slice(&s->vanished, some);
    if (redis_reply_integer(reply->element[6])) {
        s->since = (uint64_t)redis_reply_integer(reply->element[3]);
        if (some.n) s->vanished_since = (uint64_t)redis_reply_integer(reply->element[5]);
        s->first = false;
        ask_page(s);
        return;
    }
    struct slice packed = buf_slice(&s->vanished);
    uint32_t *vanished = memory_alloc(packed.n + sizeof *vanished);
    size_t vanished_count = mailbox_unpack_uids(packed, vanished);
    qsort(vanished, vanished_count, sizeof *vanished, by_number);
    settle(s, vanished_count, vanished);
    end(s, 0, &folder, s->full ? 0 : vanished_count, vanished);
    free(vanished);
}

void mailbox_sync(struct redis *r, struct slice user, uint32_t folder_id, uint64_t since, mailbox_sync_fn *done,
                  void *ctx) {
    struct syncing *s = memory_alloc(sizeof *s);
    *s = (struct syncing){
        .r = r, .done = done, .ctx = ctx, .key = mailbox_key(user), .folder_id = folder_id, .asked_since = since};
    start(s, since);
}
