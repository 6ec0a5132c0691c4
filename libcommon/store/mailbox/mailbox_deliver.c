/* Deliveries: one Function for a message and all its recipients of one user, and the release of
 * references of those to whom it was not delivered. */
#include "libcommon/store/mailbox/mailbox_private.h"

#include "libcommon/base/ulid.h"

/* FIXED: arguments of the Function before the recipients. FIELDS: of a recipient in its reply. */
enum { FIXED = 7, FIELDS = 6 };

const char *mailbox_name_ref(char out[MAILBOX_REF_MAX], struct slice user, struct slice name) {
    snprintf(out, MAILBOX_REF_MAX, name.n ? "u:%.*s/%.*s" : "u:%.*s%.*s", SLICE_FMT(user), SLICE_FMT(name));
    return out;
}

const char *mailbox_blob_ref(char out[MAILBOX_REF_MAX], struct slice user, struct slice rcpt, struct slice attempt) {
    snprintf(out, MAILBOX_REF_MAX, "u:%.*s/%.*s/%.*s", SLICE_FMT(user), SLICE_FMT(rcpt), SLICE_FMT(attempt));
    return out;
}

bool mailbox_rcpt_is_valid(struct slice rcpt) {
    if (rcpt.n == 0 || rcpt.n > MAILBOX_ADDRESS_MAX) return false;
    for (size_t i = 0; i < rcpt.n; i++)
        if ((unsigned char)rcpt.p[i] < ' ' || rcpt.p[i] == 0x7f) return false;
    return true;
}

bool mailbox_attempt_is_valid(struct slice attempt) {
    if (attempt.n == 0 || attempt.n > MAILBOX_ATTEMPT_MAX) return false;
    for (size_t i = 0; i < attempt.n; i++) {
        char c = attempt.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))) return false;
    }
    return true;
}

struct delivering {
    struct redis *r;
    mailbox_deliver_fn *done;
    void *ctx;
    char *key, id[ULID_BYTES];
    size_t count;
    char *names[MAILBOX_RECIPIENTS_MAX]; /* "<rcpt>/<attempt>" */
};

static void delivering_free(struct delivering *d) {
    for (size_t i = 0; i < d->count; i++) free(d->names[i]);
    free(d->key);
    free(d);
}

/* The release of unneeded references. */
struct dropping {
    struct redis *r;
    char *key;
    size_t count;
    char *members[MAILBOX_RECIPIENTS_MAX]; /* "<blob id>/<name>" */
};

static void on_dropped(void *ctx, int error) {
    struct dropping *o = ctx;
    struct slice args[MAILBOX_RECIPIENTS_MAX];
    for (size_t i = 0; i < o->count; i++) args[i] = slice_of(o->members[i]);
    if (!error) mailbox_fcall(o->r, NULL, NULL, "mailbox_released", o->key, o->count, args);
    for (size_t i = 0; i < o->count; i++) free(o->members[i]);
    free(o->key);
    free(o);
}

/* Releases the references of these names, and removes them from {u}:x if they were noted there. */
static void drop(struct redis *r, const char *key, const char *id, size_t count, const struct slice names[]) {
    char text[MAILBOX_RECIPIENTS_MAX][MAILBOX_REF_MAX];
    struct slice refs[MAILBOX_RECIPIENTS_MAX];
    if (count == 0) return;
    struct dropping *o = memory_alloc(sizeof *o);
    *o = (struct dropping){.r = r, .key = memory_copy(slice_of(key)), .count = count};
    for (size_t i = 0; i < count; i++) {
        struct buf member = {0};
        buf_printf(&member, "%s/%.*s", id, SLICE_FMT(names[i]));
        o->members[i] = member.data;
        refs[i] = slice_of(mailbox_name_ref(text[i], mailbox_user_of(key), names[i]));
    }
    blob_release(r, slice_of(id), count, refs, on_dropped, o);
}

/* After a refusal of the whole call: an earlier call of the same attempt may have succeeded, so
 * only references that the mailbox does not hold are released. */
static void on_unheld(void *ctx, const redisReply *reply) {
    struct delivering *d = ctx;
    struct slice names[MAILBOX_RECIPIENTS_MAX];
    size_t count = 0;
    if (mailbox_reply_array(reply, 0) == 0)
        for (size_t i = 0; i < reply->elements && count < MAILBOX_RECIPIENTS_MAX; i++)
            names[count++] = redis_reply_slice(reply->element[i]);
    drop(d->r, d->key, d->id, count, names);
    delivering_free(d);
}

static void refuse_all(struct delivering *d, int error) {
    struct mailbox_delivered results[MAILBOX_RECIPIENTS_MAX];
    for (size_t i = 0; i < d->count; i++) results[i] = (struct mailbox_delivered){.error = error};
    d->done(d->ctx, d->count, results);
    if (error == STORE_UNAVAILABLE) {
        delivering_free(d);
        return;
    }
    struct slice args[MAILBOX_RECIPIENTS_MAX + 1] = {slice_of(d->id)};
    for (size_t i = 0; i < d->count; i++) args[i + 1] = slice_of(d->names[i]);
    mailbox_fcall(d->r, on_unheld, d, "mailbox_unheld", d->key, d->count + 1, args);
}

static int error_of(struct slice word) {
    if (slice_is(word, "OVERQUOTA")) return STORE_OVER_QUOTA;
    return slice_is(word, "NOTFOUND") ? STORE_NOT_FOUND : STORE_INVALID;
}

static void on_delivered(void *ctx, const redisReply *reply) {
    struct delivering *d = ctx;
    struct mailbox_delivered results[MAILBOX_RECIPIENTS_MAX];
    struct slice unneeded[MAILBOX_RECIPIENTS_MAX];
    size_t unneeded_count = 0;
    int error = mailbox_reply_array(reply, d->count);
    if (error) {
        refuse_all(d, error);
        return;
    }
    results[0].error = STORE_INVALID; /* there is always a first one, which the compiler does not
                                         know */
    for (size_t i = 0; i < d->count; i++) {
        const redisReply *one = reply->element[i];
        struct mailbox_delivered *v = &results[i];
        bool unused;
        if (one->type == REDIS_REPLY_ARRAY && one->elements == FIELDS) {
            *v = (struct mailbox_delivered){.folder_id = (uint32_t)redis_reply_integer(one->element[0]),
                                            .uid = (uint32_t)redis_reply_integer(one->element[1]),
                                            .modseq = (uint64_t)redis_reply_integer(one->element[2]),
                                            .duplicate = redis_reply_integer(one->element[3]) != 0,
                                            .folder = redis_reply_slice(one->element[5])};
            unused = redis_reply_integer(one->element[4]) != 0;
        } else {
            *v = (struct mailbox_delivered){.error = error_of(redis_reply_slice(mailbox_element(one, 0)))};
            unused = true;
        }
        if (unused) unneeded[unneeded_count++] = slice_of(d->names[i]);
    }
    d->done(d->ctx, d->count, results);
    drop(d->r, d->key, d->id, unneeded_count, unneeded);
    delivering_free(d);
}

void mailbox_deliver(struct redis *r, struct slice user, const struct mailbox_delivery *delivery,
                     mailbox_deliver_fn *done, void *ctx) {
    char size[NUMBER_BYTES], flags[NUMBER_BYTES], date[NUMBER_BYTES], name[MAILBOX_NAME_MAX + 1];
    struct slice folder;
    struct delivering *d = memory_alloc(sizeof *d);
    *d = (struct delivering){.r = r, .done = done, .ctx = ctx, .key = mailbox_key(user)};
    memcpy(d->id, delivery->id.p, delivery->id.n < ULID_LENGTH ? delivery->id.n : ULID_LENGTH);
    if (!mailbox_name_clean(delivery->folder, name, &folder)) folder = SLICE("INBOX");
    struct slice args[FIXED + 2 * MAILBOX_RECIPIENTS_MAX] = {
        slice_of(d->id),
        delivery->attempt,
        folder,
        mailbox_number(size, (int64_t)delivery->size),
        mailbox_number(flags, (int64_t)(delivery->flags & 0xff)),
        mailbox_number(date, delivery->date),
        delivery->listing,
    };
    d->count = delivery->count < MAILBOX_RECIPIENTS_MAX ? delivery->count : MAILBOX_RECIPIENTS_MAX;
    for (size_t i = 0; i < d->count; i++) {
        struct buf held = {0};
        buf_printf(&held, "%.*s/%.*s", SLICE_FMT(delivery->rcpts[i].rcpt), SLICE_FMT(delivery->attempt));
        d->names[i] = held.data;
        args[FIXED + 2 * i] = delivery->rcpts[i].rcpt;
        args[FIXED + 2 * i + 1] = delivery->rcpts[i].prefix;
    }
    mailbox_fcall(r, on_delivered, d, "mailbox_deliver", d->key, FIXED + 2 * d->count, args);
}
