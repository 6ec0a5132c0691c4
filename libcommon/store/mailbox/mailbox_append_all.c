/* Several messages appended in one step, in place of another one or not (MULTIAPPEND, REPLACE): the
 * bodies are written one after the other; then one Function makes all records. If it refuses, the
 * bodies are released. */
#include "libcommon/store/mailbox/mailbox_private.h"

#include "libcommon/base/ulid.h"

struct one {
    char id[ULID_BYTES], size[NUMBER_BYTES], flags[NUMBER_BYTES], date[NUMBER_BYTES];
    struct slice message;
    struct buf keywords, listing;
};

struct appending_all {
    struct redis *r;
    mailbox_append_all_fn *done;
    void *ctx;
    char *key;
    uint32_t folder, replaced_folder, replaced_uid;
    size_t count, written;
    struct one list[];
};

static void end(struct appending_all *a, int error, uint32_t uidvalidity, size_t count, const uint32_t uids[],
                uint64_t replaced_modseq) {
    a->done(a->ctx, error, uidvalidity, count, uids, replaced_modseq);
    for (size_t i = 0; i < a->count; i++) {
        buf_free(&a->list[i].keywords);
        buf_free(&a->list[i].listing);
    }
    free(a->key);
    free(a);
}

/* A release that is lost is made by the janitor. */
static void release_written(struct appending_all *a) {
    char text[MAILBOX_REF_MAX];
    struct slice ref = slice_of(mailbox_blob_ref(text, mailbox_user_of(a->key), SLICE(""), SLICE("")));
    for (size_t i = 0; i < a->written; i++) blob_release(a->r, slice_of(a->list[i].id), 1, &ref, NULL, NULL);
}

static void on_appended(void *ctx, const redisReply *reply) {
    struct appending_all *a = ctx;
    int error = mailbox_reply_array(reply, 4);
    if (error) {
        /* Without an answer it may have happened: then the bodies stay, and the janitor releases
         * them if it did not. */
        if (error != STORE_UNAVAILABLE) release_written(a);
        end(a, error, 0, 0, NULL, 0);
        return;
    }
    uint32_t uids[MAILBOX_APPEND_MAX];
    struct slice packed = redis_reply_slice(reply->element[1]);
    size_t count = packed.n == a->count * sizeof *uids ? mailbox_unpack_uids(packed, uids) : 0;
    mailbox_release(a->r, a->key, reply->element[3]);
    end(a, 0, (uint32_t)redis_reply_integer(reply->element[0]), count, uids,
        (uint64_t)redis_reply_integer(reply->element[2]));
}

static void make_records(struct appending_all *a) {
    enum { FIRST = 4, EACH = 6 };
    char folder[NUMBER_BYTES], replaced_folder[NUMBER_BYTES], replaced_uid[NUMBER_BYTES], undo[NUMBER_BYTES];
    struct slice args[FIRST + EACH * MAILBOX_APPEND_MAX];
    args[0] = mailbox_number(folder, a->folder);
    args[1] = mailbox_number(replaced_folder, a->replaced_folder);
    args[2] = mailbox_number(replaced_uid, a->replaced_uid);
    args[3] = mailbox_undo_text(undo);
    for (size_t i = 0; i < a->count; i++) {
        const struct one *one = &a->list[i];
        struct slice *to = args + FIRST + i * EACH;
        to[0] = slice_of(one->id);
        to[1] = slice_of(one->size);
        to[2] = slice_of(one->flags);
        to[3] = buf_slice(&one->keywords);
        to[4] = slice_of(one->date);
        to[5] = buf_slice(&one->listing);
    }
    mailbox_fcall(a->r, on_appended, a, "mailbox_append_all", a->key, FIRST + EACH * a->count, args);
}

static void write_next(struct appending_all *a);

static void on_written(void *ctx, int error) {
    struct appending_all *a = ctx;
    if (error) {
        release_written(a);
        end(a, error, 0, 0, NULL, 0);
        return;
    }
    a->written++;
    write_next(a);
}

static void write_next(struct appending_all *a) {
    if (a->written == a->count) {
        make_records(a);
        return;
    }
    char text[MAILBOX_REF_MAX];
    struct slice ref = slice_of(mailbox_blob_ref(text, mailbox_user_of(a->key), SLICE(""), SLICE("")));
    struct one *one = &a->list[a->written];
    mailbox_listing_build(one->message, &one->listing);
    blob_write(a->r, slice_of(one->id), one->message, 1, &ref, on_written, a);
}

void mailbox_append_all(struct redis *r, struct slice user, uint32_t folder_id, size_t count,
                        const struct mailbox_new messages[], uint32_t replaced_folder, uint32_t replaced_uid,
                        mailbox_append_all_fn *done, void *ctx) {
    struct appending_all *a = memory_alloc(sizeof *a + count * sizeof *a->list);
    *a = (struct appending_all){.r = r,
                                .done = done,
                                .ctx = ctx,
                                .key = mailbox_key(user),
                                .folder = folder_id,
                                .replaced_folder = replaced_folder,
                                .replaced_uid = replaced_uid,
                                .count = count};
    for (size_t i = 0; i < count; i++) {
        struct one *one = &a->list[i];
        ulid_create(one->id);
        one->message = messages[i].message;
        mailbox_number(one->size, (int64_t)messages[i].message.n);
        mailbox_number(one->flags, (int64_t)(messages[i].flags & 0xff));
        mailbox_number(one->date, messages[i].date);
        one->keywords = mailbox_join_keywords(messages[i].keyword_count, messages[i].keywords);
    }
    write_next(a);
}
