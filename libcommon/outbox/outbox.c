#include "libcommon/outbox/outbox.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue.h"

struct putting {
    struct redis *redis;
    struct bus *bus;
    char id[ULID_BYTES];
    struct queue_parcel *parcel; /* NULL: body and entry are written in one step */
    char *held;                  /* outbox_commit_stored's references; NULL: none */
    int error;                   /* of the entry, while the body is released again */
    outbox_done_fn *done;
    void *ctx;
};

static struct putting *putting_create(struct redis *r, struct bus *b, const struct envelope *e,
                                      struct queue_parcel *parcel, outbox_done_fn *done, void *ctx) {
    struct putting *p = memory_alloc(sizeof *p);
    p->redis = r;
    p->bus = b;
    memcpy(p->id, e->id, sizeof p->id);
    p->parcel = parcel;
    p->done = done;
    p->ctx = ctx;
    return p;
}

static void finish(struct putting *p, int error) {
    p->done(p->ctx, error);
    queue_parcel_destroy(p->parcel);
    free(p->held);
    free(p);
}

static void on_released(void *ctx, int error) {
    struct putting *p = ctx;
    if (error) log_warn("a body was not released", "id", p->id, "reason", store_error_text(error), NULL);
    finish(p, p->error);
}

static void release_queue_ref(struct putting *p, int answer) {
    struct slice ref = SLICE(BLOB_REF_QUEUE);
    p->error = answer;
    blob_release(p->redis, slice_of(p->id), 1, &ref, on_released, p);
}

/* The message is in the queue; later errors do not change this. */
static void on_held_released(void *ctx, int error) {
    char *id = ctx;
    if (error) log_warn("references of a body were not released", "id", id, "reason", store_error_text(error), NULL);
    free(id);
}

static void release_held(struct putting *p) {
    struct slice refs[ENVELOPE_RCPTS_MAX], rest = slice_of(p->held), ref;
    size_t count = 0;
    for (bool more = true; more && count < ENVELOPE_RCPTS_MAX;) {
        more = slice_cut(&rest, '\n', &ref);
        if (!more) ref = rest;
        if (ref.n) refs[count++] = ref;
    }
    if (count) blob_release(p->redis, slice_of(p->id), count, refs, on_held_released, memory_copy(slice_of(p->id)));
}

static void wake(const struct putting *p) {
    char subject[32];
    snprintf(subject, sizeof subject, "queue.due.%d", queue_shard_of(slice_of(p->id)));
    bus_wake(p->bus, subject);
}

static void on_entry(void *ctx, int error) {
    struct putting *p = ctx;
    if (error == QUEUE_GONE) { /* completed before: only the reference that this commit added
                                  remains */
        release_queue_ref(p, 0);
    } else if (error == STORE_UNAVAILABLE) { /* the entry may exist, and needs the body */
        finish(p, error);
    } else if (error) {
        release_queue_ref(p, error);
    } else {
        wake(p);
        if (p->held) release_held(p);
        finish(p, 0);
    }
}

static void on_body(void *ctx, int error) {
    struct putting *p = ctx;
    if (error)
        finish(p, error);
    else if (p->held)
        queue_parcel_commit_stored(p->redis, p->parcel, on_entry, p);
    else
        queue_parcel_commit(p->redis, p->parcel, on_entry, p);
}

/* Mail of other sites that is forwarded has a body, because verifier.explain reads it. */
static bool is_from_here_to_other_sites(const struct envelope *e) {
    if (e->origin == ORIGIN_MX || e->hold.n) return false;
    for (size_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].user.n) return false;
    return true;
}

static void on_whole(void *ctx, int error) {
    struct putting *p = ctx;
    if (!error) wake(p);
    finish(p, error == QUEUE_GONE ? 0 : error);
}

void outbox_commit(struct redis *r, struct bus *b, const struct envelope *e, struct slice text, outbox_done_fn *done,
                   void *ctx) {
    if (text.n <= QUEUE_TEXT_MAX && is_from_here_to_other_sites(e)) {
        queue_commit_text(r, e, text, on_whole, putting_create(r, b, e, NULL, done, ctx));
        return;
    }
    struct slice ref = SLICE(BLOB_REF_QUEUE);
    struct putting *p = putting_create(r, b, e, queue_parcel_create(e), done, ctx);
    blob_write(r, slice_of(p->id), text, 1, &ref, on_body, p);
}

void outbox_commit_stored(struct redis *r, struct bus *b, const struct envelope *e, struct slice held,
                          outbox_done_fn *done, void *ctx) {
    struct putting *p = putting_create(r, b, e, queue_parcel_create(e), done, ctx);
    p->held = memory_copy(held);
    blob_hold(r, slice_of(e->id), BLOB_REF_QUEUE, on_body, p);
}
