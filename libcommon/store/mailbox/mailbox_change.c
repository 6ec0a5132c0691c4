/* Flags stored, messages copied, moved and expunged: in chunks of MAILBOX_CHUNK messages, each one
 * Function; the results are combined. Chunks of a STORE do not depend on each other: several are
 * asked for at once, so that they reach the disk together. */
#include "libcommon/store/mailbox/mailbox_private.h"

#include <sodium.h>

enum { CHUNKS_AT_ONCE = 16, OP_BYTES = 16 };

enum change_kind { CHANGE_STORE, CHANGE_COPY, CHANGE_EXPUNGE };

struct change {
    struct redis *r;
    char *key;
    enum change_kind kind;
    uint32_t folder_id;
    uint32_t *uids;          /* sorted, each once */
    size_t count, at, asked; /* asked: of the last chunk */
    int in_flight;           /* chunks that were asked for */
    bool all;                /* expunge: every message with \Deleted */
    mailbox_store_fn *stored;
    mailbox_copy_fn *copied;
    mailbox_expunge_fn *expunged;
    void *ctx;
    /* what is asked */
    enum mailbox_store_how how;
    uint64_t flags, unchanged_since;
    struct buf text;           /* keywords, or the target's name */
    bool flag;                 /* move, or only \Deleted */
    bool now;                  /* expunge: not to be undone, because there is no room for a journal */
    char op[2 * OP_BYTES + 1]; /* the name of a COPY of several chunks, "" otherwise */
    /* the results */
    struct buf first, second; /* packed: records and refused uids; from and to uids; expunged
                                 uids */
    uint32_t to_uidvalidity, keyword_generation;
    bool collected; /* the folder's unused keywords were removed */
    int error;      /* of a chunk; of a COPY, told when what was copied is removed again */
    uint64_t modseq;
};

static void change_step(struct change *c);

static int by_number(const void *one, const void *other) {
    const uint32_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

static int by_uid(const void *one, const void *other) {
    const struct mailbox_record *a = one, *b = other;
    return (a->uid > b->uid) - (a->uid < b->uid);
}

static struct change *change_create(struct redis *r, struct slice user, enum change_kind kind, uint32_t folder_id,
                                    size_t count, const uint32_t uids[], void *ctx) {
    struct change *c = memory_alloc(sizeof *c);
    *c = (struct change){.r = r, .key = mailbox_key(user), .kind = kind, .folder_id = folder_id, .ctx = ctx};
    c->uids = memory_alloc((count + 1) * sizeof *uids);
    if (count) memcpy(c->uids, uids, count * sizeof *uids);
    qsort(c->uids, count, sizeof *uids, by_number);
    for (size_t i = 0; i < count; i++)
        if (c->count == 0 || c->uids[c->count - 1] != c->uids[i]) c->uids[c->count++] = c->uids[i];
    return c;
}

static uint32_t *unpack(const struct buf *packed, size_t *count) {
    uint32_t *uids = memory_alloc(packed->n + sizeof *uids);
    *count = mailbox_unpack_uids(buf_slice(packed), uids);
    return uids;
}

/* error: no results are returned then, though some changes may have happened; the whole call can be
 * repeated. */
static void change_end(struct change *c, int error) {
    size_t first_count = 0, second_count = 0;
    uint32_t *first = NULL, *second = unpack(&c->second, &second_count);
    if (error) second_count = 0;
    if (c->kind == CHANGE_STORE) {
        struct mailbox_records records = {0};
        if (!error) mailbox_records_add(&records, buf_slice(&c->first));
        if (records.count) qsort(records.all, records.count, sizeof *records.all, by_uid);
        c->stored(c->ctx, error, c->keyword_generation, records.count, records.all, second_count, second);
        free(records.all);
    } else {
        first = unpack(&c->first, &first_count);
        if (error) first_count = 0;
        if (c->kind == CHANGE_COPY) {
            c->copied(c->ctx, error, c->to_uidvalidity, first_count, first, second);
        } else {
            qsort(first, first_count, sizeof *first, by_number);
            c->expunged(c->ctx, error, first_count, first, c->modseq);
        }
    }
    free(first);
    free(second);
    free(c->uids);
    free(c->key);
    buf_free(&c->text);
    buf_free(&c->first);
    buf_free(&c->second);
    free(c);
}

static void on_undone(void *ctx, int error) {
    struct change *c = ctx;
    (void)error;
    change_end(c, c->error);
}

/* A COPY that failed half-way: its copies are removed, so that a retry makes no second ones. */
static void copy_undo(struct change *c, int error) {
    c->error = error;
    mailbox_copy_undo(c->r, c->key, slice_of(c->op), on_undone, c);
}

static void on_collected(void *ctx, int error, unsigned free_places) {
    struct change *c = ctx;
    if (error || !free_places) {
        change_end(c, error ? error : STORE_LIMIT);
        return;
    }
    c->error = 0;
    c->at = 0;
    buf_reset(&c->first);
    buf_reset(&c->second);
    change_step(c);
}

/* All chunks of a STORE are answered. */
static void store_end(struct change *c) {
    if (c->error == STORE_LIMIT && !c->collected) {
        c->collected = true;
        mailbox_keywords_collect(c->r, c->key, c->folder_id, on_collected, c);
    } else {
        change_end(c, c->error);
    }
}

static void on_step(void *ctx, const redisReply *reply) {
    static const size_t elements[] = {[CHANGE_STORE] = 3, [CHANGE_COPY] = 3, [CHANGE_EXPUNGE] = 4};
    struct change *c = ctx;
    int error = mailbox_reply_array(reply, elements[c->kind]);
    c->in_flight--;
    if (error && c->kind == CHANGE_STORE) {
        c->error = error;
        if (!c->in_flight) store_end(c);
        return;
    }
    if (error == STORE_FULL && c->kind == CHANGE_EXPUNGE && !c->now) {
        c->now = true;
        c->at -= c->asked;
        change_step(c);
        return;
    }
    if (error) {
        if (*c->op)
            copy_undo(c, error);
        else
            change_end(c, error);
        return;
    }
    bool more = c->at < c->count && !c->error;
    if (c->kind == CHANGE_STORE) {
        buf_add_slice(&c->first, redis_reply_slice(reply->element[0]));
        buf_add_slice(&c->second, redis_reply_slice(reply->element[1]));
        c->keyword_generation = (uint32_t)redis_reply_integer(reply->element[2]);
    } else if (c->kind == CHANGE_COPY) {
        c->to_uidvalidity = (uint32_t)redis_reply_integer(reply->element[0]);
        buf_add_slice(&c->first, redis_reply_slice(reply->element[1]));
        buf_add_slice(&c->second, redis_reply_slice(reply->element[2]));
    } else {
        buf_add_slice(&c->first, redis_reply_slice(reply->element[0]));
        c->modseq = (uint64_t)redis_reply_integer(reply->element[1]);
        mailbox_release(c->r, c->key, reply->element[2]);
        if (c->all) more = redis_reply_integer(reply->element[3]) != 0;
    }
    if (more)
        change_step(c);
    else if (!c->in_flight && c->kind == CHANGE_STORE)
        store_end(c);
    else if (!c->in_flight)
        change_end(c, c->error);
}

static void ask_chunk(struct change *c) {
    char folder[NUMBER_BYTES], how[NUMBER_BYTES], flags[NUMBER_BYTES], since[NUMBER_BYTES], max[NUMBER_BYTES],
        undo[NUMBER_BYTES];
    size_t n = c->count - c->at < MAILBOX_CHUNK ? c->count - c->at : MAILBOX_CHUNK;
    struct buf packed = mailbox_pack_uids(n, c->uids + c->at);
    struct slice id = mailbox_number(folder, c->folder_id), flag = c->flag ? SLICE("1") : SLICE("0");
    c->at += n;
    c->asked = n;
    c->in_flight++;
    if (c->kind == CHANGE_STORE) {
        struct slice args[] = {id,
                               buf_slice(&packed),
                               mailbox_number(how, c->how),
                               mailbox_number(flags, (int64_t)(c->flags & 0xff)),
                               buf_slice(&c->text),
                               mailbox_number(since, (int64_t)c->unchanged_since),
                               mailbox_undo_text(undo)};
        mailbox_fcall(c->r, on_step, c, "mailbox_store", c->key, 7, args);
    } else if (c->kind == CHANGE_COPY) {
        struct slice last = c->at == c->count ? SLICE("1") : SLICE("0");
        struct slice args[] = {id,   buf_slice(&packed),     buf_slice(&c->text), flag, slice_of(c->op),
                               last, mailbox_undo_text(undo)};
        mailbox_fcall(c->r, on_step, c, "mailbox_copy", c->key, 7, args);
    } else {
        struct slice args[] = {id, buf_slice(&packed), flag, mailbox_number(max, MAILBOX_CHUNK),
                               mailbox_undo_text(undo)};
        mailbox_fcall(c->r, on_step, c, c->now ? "mailbox_expunge_now" : "mailbox_expunge", c->key, 5, args);
    }
    buf_free(&packed);
}

static void change_step(struct change *c) {
    do ask_chunk(c);
    while (c->kind == CHANGE_STORE && c->at < c->count && c->in_flight < CHUNKS_AT_ONCE);
}

void mailbox_store(struct redis *r, struct slice user, uint32_t folder_id, size_t count, const uint32_t uids[],
                   enum mailbox_store_how how, uint64_t system_flags, size_t keyword_count,
                   const struct slice keywords[], uint64_t unchanged_since, mailbox_store_fn *done, void *ctx) {
    struct change *c = change_create(r, user, CHANGE_STORE, folder_id, count, uids, ctx);
    c->stored = done;
    c->how = how;
    c->flags = system_flags;
    c->unchanged_since = unchanged_since;
    c->text = mailbox_join_keywords(keyword_count, keywords);
    change_step(c);
}

static void on_refused(void *ctx, int error) { change_end(ctx, error); }

static void on_begun(void *ctx, int error) {
    struct change *c = ctx;
    if (error)
        change_end(c, error);
    else
        change_step(c);
}

/* The same messages of the same folder to the same target: the same name. */
static void copy_name(struct change *c) {
    unsigned char hash[OP_BYTES];
    struct buf what = mailbox_pack_uids(c->count, c->uids);
    buf_printf(&what, "%u %.*s", c->folder_id, SLICE_FMT(buf_slice(&c->text)));
    crypto_generichash(hash, sizeof hash, (const unsigned char *)what.data, what.n, NULL, 0);
    sodium_bin2hex(c->op, sizeof c->op, hash, sizeof hash);
    buf_free(&what);
}

void mailbox_copy(struct redis *r, struct slice user, uint32_t from_folder, size_t count, const uint32_t uids[],
                  struct slice to_name, bool move, mailbox_copy_fn *done, void *ctx) {
    char bytes[MAILBOX_NAME_MAX + 1];
    struct slice name;
    struct change *c = change_create(r, user, CHANGE_COPY, from_folder, count, uids, ctx);
    c->copied = done;
    c->flag = move;
    if (!mailbox_name_clean(to_name, bytes, &name)) {
        mailbox_fail_done(r, on_refused, c, STORE_NOT_FOUND);
        return;
    }
    buf_add_slice(&c->text, name);
    if (move || c->count <= MAILBOX_CHUNK) {
        change_step(c);
        return;
    }
    copy_name(c);
    mailbox_copy_begin(r, c->key, slice_of(c->op), on_begun, c);
}

void mailbox_expunge(struct redis *r, struct slice user, uint32_t folder_id, size_t count, const uint32_t uids[],
                     bool only_deleted, mailbox_expunge_fn *done, void *ctx) {
    struct change *c = change_create(r, user, CHANGE_EXPUNGE, folder_id, count, uids, ctx);
    c->expunged = done;
    c->all = count == 0;
    c->flag = only_deleted || c->all;
    change_step(c);
}
