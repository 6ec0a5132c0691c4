/* Messages appended to a mailbox, and read from it. */
#include "libcommon/store/mailbox/mailbox_private.h"

#include "libcommon/base/ulid.h"

enum { KEY_MAX = 300 };

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
    struct buf keywords, listing;
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
    buf_free(&a->listing);
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
        buf_slice(&a->listing),
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
    mailbox_listing_build(message, &a->listing);
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

/* The prefix and the body at the same time. */
struct record_read {
    mailbox_read_fn *done;
    void *ctx;
    int waiting, error;
    struct buf prefix, body;
};

static void record_read_end(struct record_read *o) {
    if (--o->waiting) return;
    if (!o->error) buf_add_slice(&o->prefix, buf_slice(&o->body));
    o->done(o->ctx, o->error, o->error ? SLICE("") : buf_slice(&o->prefix));
    buf_free(&o->prefix);
    buf_free(&o->body);
    free(o);
}

static void on_prefix(void *ctx, const redisReply *reply) {
    struct record_read *o = ctx;
    int error = redis_reply_error(reply);
    if (!error && reply->type != REDIS_REPLY_STRING) error = STORE_NOT_FOUND; /* removed in the meantime */
    if (error)
        o->error = error;
    else
        buf_add_slice(&o->prefix, redis_reply_slice(reply));
    record_read_end(o);
}

static void on_body(void *ctx, int error, struct slice message) {
    struct record_read *o = ctx;
    if (error) o->error = error;
    if (o->waiting == 1 && !o->error) { /* the usual order: one copy less */
        buf_add_slice(&o->prefix, message);
    } else {
        buf_add_slice(&o->body, message);
    }
    record_read_end(o);
}

void mailbox_read_record(struct redis *r, struct slice user, uint32_t folder_id, const struct mailbox_record *record,
                         mailbox_read_fn *done, void *ctx) {
    if (!record->savedate) { /* it may be of version 1 */
        mailbox_read(r, user, folder_id, record->uid, done, ctx);
        return;
    }
    if (!record->variant) { /* no prefix */
        blob_read(r, slice_of(record->blob), NULL, done, ctx);
        return;
    }
    char *key = mailbox_key(user), uid[NUMBER_BYTES], column[KEY_MAX];
    struct record_read *o = memory_alloc(sizeof *o);
    *o = (struct record_read){.done = done, .ctx = ctx, .waiting = 2};
    int n = snprintf(column, sizeof column, "%s:f:%u:p", key, folder_id);
    const struct slice words[] = {SLICE("HGET"), slice_make(column, (size_t)n < sizeof column ? (size_t)n : 0),
                                  mailbox_number(uid, record->uid)};
    redis_command(r, on_prefix, o, 3, words);
    blob_read(r, slice_of(record->blob), NULL, on_body, o);
    free(key);
}
