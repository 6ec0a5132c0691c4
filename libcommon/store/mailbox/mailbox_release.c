/* The release of blobs that are no longer used. */
#include "libcommon/store/mailbox/mailbox_private.h"

#include "libcommon/base/ulid.h"

/* Release: each blob first, then the note in {u}:x. A process that dies in between leaves the note,
 * and the janitor finds it. */

struct releasing {
    struct redis *r;
    char *key;
    size_t waiting;
    bool failed;
    mailbox_done_fn *then; /* called at the end; may be NULL */
    void *then_ctx;
    size_t count;
    char **members;
};

static void releasing_end(struct releasing *o, int error) {
    if (o->then) o->then(o->then_ctx, error);
    for (size_t i = 0; i < o->count; i++) free(o->members[i]);
    free(o->members);
    free(o->key);
    free(o);
}

static void on_noted(void *ctx, const redisReply *reply) {
    struct releasing *o = ctx;
    if (redis_reply_error(reply)) o->failed = true;
    if (--o->waiting == 0) releasing_end(o, o->failed ? STORE_UNAVAILABLE : 0);
}

/* Removes the released ones from {u}:x. */
static void forget_notes(struct releasing *o) {
    struct slice args[MAILBOX_CHUNK];
    o->waiting = (o->count + MAILBOX_CHUNK - 1) / MAILBOX_CHUNK;
    for (size_t at = 0; at < o->count; at += MAILBOX_CHUNK) {
        size_t n = o->count - at < MAILBOX_CHUNK ? o->count - at : MAILBOX_CHUNK;
        for (size_t i = 0; i < n; i++) args[i] = slice_of(o->members[at + i]);
        mailbox_fcall(o->r, on_noted, o, "mailbox_released", o->key, n, args);
    }
}

static void on_released(void *ctx, int error) {
    struct releasing *o = ctx;
    if (error) o->failed = true;
    if (--o->waiting) return;
    if (o->failed || o->count == 0)
        releasing_end(o, o->failed ? STORE_UNAVAILABLE : 0);
    else
        forget_notes(o);
}

void mailbox_release_then(struct redis *r, const char *key, const redisReply *list, mailbox_done_fn *then,
                          void *then_ctx) {
    struct releasing *o = memory_alloc(sizeof *o);
    size_t elements = list && list->type == REDIS_REPLY_ARRAY ? list->elements : 0;
    *o = (struct releasing){.r = r, .key = memory_copy(slice_of(key)), .then = then, .then_ctx = then_ctx};
    o->members = memory_alloc((elements + 1) * sizeof *o->members);
    o->waiting = 1;
    for (size_t i = 0; i < elements; i++) {
        struct slice member = redis_reply_slice(list->element[i]);
        char text[MAILBOX_REF_MAX];
        if (member.n <= ULID_LENGTH) continue;
        o->members[o->count++] = memory_copy(member);
        o->waiting++;
        struct slice ref = slice_of(mailbox_name_ref(text, mailbox_user_of(key), slice_skip(member, ULID_LENGTH + 1)));
        blob_release(r, slice_head(member, ULID_LENGTH), 1, &ref, on_released, o);
    }
    on_released(o, 0);
}

void mailbox_release(struct redis *r, const char *key, const redisReply *list) {
    if (list && list->type == REDIS_REPLY_ARRAY && list->elements) mailbox_release_then(r, key, list, NULL, NULL);
}
