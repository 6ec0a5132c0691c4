/* Messages appended to a mailbox, and read from it. */
#include "libcommon/store/mailbox/mailbox_private.h"

#include "libcommon/base/ulid.h"

/* Append
 *
 * The blob is written first, then the record; if the record is refused, the blob is released. */

struct appending {
    struct redis *r;
    mailbox_append_fn *done;
    void *ctx;
    char *key, id[ULID_BYTES], attempt[ULID_BYTES]; /* attempt: of an import; else empty */
    uint32_t folder_id;
    uint64_t flags;
    int64_t date;
    size_t size;
    struct buf keywords, cached;
};

static const char import_rcpt[] = "import";

/* The reference under which the mailbox holds the blob. */
static struct slice appending_ref(const struct appending *a, char text[MAILBOX_REF_MAX]) {
    struct slice rcpt = *a->attempt ? slice_of(import_rcpt) : SLICE("");
    return slice_of(mailbox_blob_ref(text, mailbox_user_of(a->key), rcpt, slice_of(a->attempt)));
}

static void appending_end(struct appending *a, int error, uint32_t uidvalidity, uint32_t uid) {
    a->done(a->ctx, error, uidvalidity, uid);
    buf_free(&a->keywords);
    buf_free(&a->cached);
    free(a->key);
    free(a);
}

static void on_appended(void *ctx, const redisReply *reply) {
    struct appending *a = ctx;
    int error = mailbox_reply_array(reply, 3);
    if (error) {
        char text[MAILBOX_REF_MAX];
        struct slice ref = appending_ref(a, text);
        /* Without an answer it may have happened: then the blob stays, and the janitor releases it
         * if it did not. */
        if (error != STORE_UNAVAILABLE) blob_release(a->r, slice_of(a->id), 1, &ref, NULL, NULL);
        appending_end(a, error, 0, 0);
        return;
    }
    appending_end(a, 0, (uint32_t)redis_reply_integer(reply->element[0]),
                  (uint32_t)redis_reply_integer(reply->element[1]));
}

static void on_blob_written(void *ctx, int error) {
    struct appending *a = ctx;
    char folder[NUMBER_BYTES], size[NUMBER_BYTES], flags[NUMBER_BYTES], date[NUMBER_BYTES], name[64];
    if (error) {
        appending_end(a, error, 0, 0);
        return;
    }
    struct slice args[] = {
        mailbox_number(folder, a->folder_id),
        slice_of(a->id),
        mailbox_number(size, (int64_t)a->size),
        mailbox_number(flags, (int64_t)(a->flags & 0xff)),
        buf_slice(&a->keywords),
        mailbox_number(date, a->date),
        buf_slice(&a->cached),
        SLICE(""),
    };
    snprintf(name, sizeof name, "%s/%s", import_rcpt, a->attempt);
    args[7] = slice_of(name);
    mailbox_fcall(a->r, on_appended, a, "mailbox_append", a->key, *a->attempt ? 8 : 7, args);
}

/* Takes ownership of a. */
static void append(struct appending *a, struct slice message, size_t keyword_count, const struct slice keywords[]) {
    char text[MAILBOX_REF_MAX];
    struct slice ref = appending_ref(a, text);
    a->size = message.n;
    a->keywords = mailbox_join_keywords(keyword_count, keywords);
    mailbox_cache_build(SLICE(""), message, &a->cached);
    blob_write(a->r, slice_of(a->id), message, 1, &ref, on_blob_written, a);
}

void mailbox_append(struct redis *r, struct slice user, uint32_t folder_id, struct slice message, uint64_t system_flags,
                    size_t keyword_count, const struct slice keywords[], int64_t date, mailbox_append_fn *done,
                    void *ctx) {
    struct appending *a = memory_alloc(sizeof *a);
    *a = (struct appending){.r = r,
                            .done = done,
                            .ctx = ctx,
                            .key = mailbox_key(user),
                            .folder_id = folder_id,
                            .flags = system_flags,
                            .date = date};
    ulid_create(a->id);
    append(a, message, keyword_count, keywords);
}

void mailbox_import(struct redis *r, struct slice user, uint32_t folder_id, struct slice id, struct slice message,
                    uint64_t system_flags, size_t keyword_count, const struct slice keywords[], int64_t date,
                    mailbox_append_fn *done, void *ctx) {
    struct appending *a = memory_alloc(sizeof *a);
    *a = (struct appending){.r = r,
                            .done = done,
                            .ctx = ctx,
                            .key = mailbox_key(user),
                            .folder_id = folder_id,
                            .flags = system_flags,
                            .date = date};
    memcpy(a->id, id.p, id.n < ULID_LENGTH ? id.n : ULID_LENGTH);
    ulid_create(a->attempt);
    append(a, message, keyword_count, keywords);
}

/* Reading */

struct reading {
    struct redis *r;
    mailbox_read_fn *done;
    void *ctx;
    struct buf prefix;
};

static void reading_end(struct reading *o, int error, struct slice message) {
    o->done(o->ctx, error, message);
    buf_free(&o->prefix);
    free(o);
}

static void on_blob(void *ctx, int error, struct slice message) {
    struct reading *o = ctx;
    if (!error && o->prefix.n) {
        buf_add_slice(&o->prefix, message);
        message = buf_slice(&o->prefix);
    }
    reading_end(o, error, message);
}

static void on_located(void *ctx, const redisReply *reply) {
    struct reading *o = ctx;
    int error = mailbox_reply_array(reply, 2);
    if (error) {
        reading_end(o, error, SLICE(""));
        return;
    }
    buf_add_slice(&o->prefix, redis_reply_slice(reply->element[1]));
    blob_read(o->r, redis_reply_slice(reply->element[0]), NULL, on_blob, o);
}

void mailbox_read(struct redis *r, struct slice user, uint32_t folder_id, uint32_t uid, mailbox_read_fn *done,
                  void *ctx) {
    char folder[NUMBER_BYTES], number[NUMBER_BYTES], *key = mailbox_key(user);
    struct reading *o = memory_alloc(sizeof *o);
    *o = (struct reading){.r = r, .done = done, .ctx = ctx};
    struct slice args[] = {mailbox_number(folder, folder_id), mailbox_number(number, uid)};
    mailbox_fcall(r, on_located, o, "mailbox_locate", key, 2, args);
    free(key);
}

/* A part of it: of the prefix, of the body, or of both. */

struct range_reading {
    struct redis *r;
    mailbox_range_fn *done;
    void *ctx;
    uint64_t offset, length, prefix_size;
    struct buf part; /* what the prefix has of the range */
};

static void range_end(struct range_reading *o, int error, uint64_t size, struct slice bytes) {
    o->done(o->ctx, error, size, bytes);
    buf_free(&o->part);
    free(o);
}

static void on_blob_range(void *ctx, int error, uint64_t size, struct slice bytes) {
    struct range_reading *o = ctx;
    if (!error && o->part.n) {
        buf_add_slice(&o->part, bytes);
        bytes = buf_slice(&o->part);
    }
    range_end(o, error, error ? 0 : o->prefix_size + size, bytes);
}

static void on_range_located(void *ctx, const redisReply *reply) {
    struct range_reading *o = ctx;
    int error = mailbox_reply_array(reply, 2);
    if (error) {
        range_end(o, error, 0, SLICE(""));
        return;
    }
    struct slice prefix = redis_reply_slice(reply->element[1]), part = SLICE("");
    if (o->offset < prefix.n)
        part = slice_head(slice_skip(prefix, (size_t)o->offset), o->length < prefix.n ? (size_t)o->length : prefix.n);
    buf_add_slice(&o->part, part);
    o->prefix_size = prefix.n;
    blob_read_range(o->r, redis_reply_slice(reply->element[0]), o->offset < prefix.n ? 0 : o->offset - prefix.n,
                    o->length - part.n, on_blob_range, o);
}

void mailbox_read_range(struct redis *r, struct slice user, uint32_t folder_id, uint32_t uid, uint64_t offset,
                        uint64_t length, mailbox_range_fn *done, void *ctx) {
    char folder[NUMBER_BYTES], number[NUMBER_BYTES], *key = mailbox_key(user);
    struct range_reading *o = memory_alloc(sizeof *o);
    *o = (struct range_reading){.r = r, .done = done, .ctx = ctx, .offset = offset, .length = length};
    struct slice args[] = {mailbox_number(folder, folder_id), mailbox_number(number, uid)};
    mailbox_fcall(r, on_range_located, o, "mailbox_locate", key, 2, args);
    free(key);
}

/* Reads cached texts; those that were too large to keep are computed again, message by message. */
struct caching {
    struct redis *r;
    char *key;
    uint32_t folder_id;
    mailbox_cached_fn *done;
    void *ctx;
    struct arena *arena; /* NULL until data has to outlive the reply */
    struct mailbox_cached *cached;
    size_t found, at; /* entries; the index of the one that is computed */
    size_t count;
    uint32_t uids[];
};

static void caching_end(struct caching *c, int error) {
    c->done(c->ctx, error, error ? 0 : c->found, c->cached);
    arena_destroy(c->arena);
    free(c->cached);
    free(c->key);
    free(c);
}

static bool is_complete(const struct mailbox_cached *one) {
    return one->envelope.p && one->body.p && one->bodystructure.p && one->header.p;
}

static void complete_next(struct caching *c);

static void on_whole(void *ctx, int error, struct slice message) {
    struct caching *c = ctx;
    if (error && error != STORE_NOT_FOUND) {
        caching_end(c, error);
        return;
    }
    if (error) /* removed in the meantime: left out */
        memmove(c->cached + c->at, c->cached + c->at + 1, (--c->found - c->at) * sizeof *c->cached);
    else
        mailbox_cache_complete(c->arena, message, &c->cached[c->at]);
    complete_next(c);
}

static void complete_next(struct caching *c) {
    while (c->at < c->found && is_complete(&c->cached[c->at])) c->at++;
    if (c->at == c->found)
        caching_end(c, 0);
    else
        mailbox_read(c->r, mailbox_user_of(c->key), c->folder_id, c->cached[c->at].uid, on_whole, c);
}

static void on_cached(void *ctx, const redisReply *reply) {
    struct caching *c = ctx;
    int error = mailbox_reply_array(reply, c->count);
    bool complete = true;
    c->cached = memory_alloc((c->count + 1) * sizeof *c->cached);
    for (size_t pass = 0; pass < 2 && !error; pass++) { /* a second time, from copies, when
                                                           something is missing */
        c->found = 0;
        for (size_t i = 0; i < c->count; i++) {
            struct slice prefix, packed = redis_reply_slice(reply->element[i]);
            if (c->arena) packed = arena_slice(c->arena, packed);
            if (!mailbox_cache_read(packed, &prefix, &c->cached[c->found])) continue;
            complete = complete && is_complete(&c->cached[c->found]);
            c->cached[c->found++].uid = c->uids[i];
        }
        if (complete) break;
        if (!c->arena) c->arena = arena_create();
    }
    if (error || complete)
        caching_end(c, error);
    else
        complete_next(c);
}

void mailbox_cached(struct redis *r, struct slice user, uint32_t folder_id, size_t count, const uint32_t uids[],
                    mailbox_cached_fn *done, void *ctx) {
    char folder[NUMBER_BYTES];
    struct caching *c = memory_alloc(sizeof *c + count * sizeof *uids);
    *c = (struct caching){
        .r = r, .key = mailbox_key(user), .folder_id = folder_id, .done = done, .ctx = ctx, .count = count};
    if (count) memcpy(c->uids, uids, count * sizeof *uids);
    struct buf packed = mailbox_pack_uids(count, uids);
    struct slice args[] = {mailbox_number(folder, folder_id), buf_slice(&packed)};
    mailbox_fcall(r, on_cached, c, "mailbox_cached", c->key, 2, args);
    buf_free(&packed);
}
