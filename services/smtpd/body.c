/* The body of a message whose recipients all have a mailbox here is written to the store, as it was
 * received, while its checks run: its flush to the disk and the verification of the sender then take
 * the time of the longer one instead of both. What the checks add to the header goes along with the
 * delivery, as the message's prefix (commit.c).
 *
 * A message with fields that must be dropped (rare: forged ones) is written again as a whole.
 *
 * A refused message's body is released as soon as its write is answered. If this process is killed
 * before that, the janitor finds it: its references have no owner. */
#include <stdlib.h>

#include "libcommon/base/arena.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/mailbox.h"
#include "services/smtpd/smtpd.h"

struct metric smtpd_bodies_released =
    METRIC_COUNTER("postbus_smtpd_bodies_released_total",
                   "Bodies written during the checks of a message and released again, most of them because it was "
                   "refused");

struct body {
    struct session *session; /* held while the write is pending */
    struct redis *redis;
    struct arena *arena; /* of the references */
    char id[ULID_BYTES];
    size_t count, memory;
    struct slice *refs;
    bool answered, unwanted;
    int error;          /* of the write, once it is answered */
    blob_done_fn *done; /* who waits for the write or, when unwanted, for the release; NULL: nobody */
    void *ctx;
};

static void body_free(struct body *b) {
    arena_destroy(b->arena);
    free(b);
}

/* The last step: tells the one who waits. */
static void finish(struct body *b, int error) {
    blob_done_fn *done = b->done;
    void *ctx = b->ctx;
    body_free(b);
    if (done) done(ctx, error);
}

static void on_released(void *ctx, int error) {
    struct body *b = ctx;
    if (error) log_warn("a body was not released", "id", b->id, "reason", store_error_text(error), NULL);
    finish(b, error);
}

static void release(struct body *b) {
    if (b->error) { /* it was not written or, if that is not known, the janitor finds it */
        finish(b, b->error);
        return;
    }
    metric_add(&smtpd_bodies_released, 1);
    blob_release(b->redis, slice_of(b->id), b->count, b->refs, on_released, b);
}

static void on_written(void *ctx, int error) {
    struct body *b = ctx;
    struct session *s = b->session;
    b->answered = true;
    b->error = error;
    atomic_fetch_sub(&s->smtpd->process->memory, b->memory);
    if (b->unwanted)
        release(b);
    else if (b->done)
        finish(b, error);
    life_release(&s->life);
}

struct slice *body_refs(const struct session *s, struct arena *arena, size_t *count) {
    const struct transaction *t = &s->t;
    struct slice *refs = arena_alloc(arena, (t->rcpt_count + 1) * sizeof *refs);
    *count = 0;
    for (const struct rcpt *r = t->rcpts; r; r = r->next) {
        char ref[MAILBOX_REF_MAX];
        mailbox_blob_ref(ref, slice_of(r->user), r->address, SLICE(SMTP_ATTEMPT));
        refs[(*count)++] = arena_slice(arena, slice_of(ref));
    }
    return refs;
}

bool body_is_for_mailboxes(const struct session *s) {
    for (const struct rcpt *r = s->t.rcpts; r; r = r->next)
        if (!ulid_is_valid(slice_of(r->user)) || !mailbox_rcpt_is_valid(r->address)) return false;
    return true;
}

/* Submitted mail is not written early: its header is completed, and fields are dropped. */
void check_early_write(struct checking *c) {
    struct session *s = c->session;
    struct transaction *t = &s->t;
    struct smtpd_process *p = s->smtpd->process;
    struct slice text = message_text(t);
    size_t memory = BODY_COPIES * text.n;
    if (session_is_submission(s) || text.n > BODY_EARLY_MAX || !body_is_for_mailboxes(s)) return;
    if (atomic_fetch_add(&p->memory, memory) + memory > p->memory_max) {
        atomic_fetch_sub(&p->memory, memory);
        return;
    }
    struct body *b = memory_alloc(sizeof *b);
    b->session = s;
    b->redis = s->smtpd->worker->redis;
    b->arena = arena_create();
    b->memory = memory;
    memcpy(b->id, t->id, sizeof b->id);
    b->refs = body_refs(s, b->arena, &b->count);
    t->written = b;
    life_hold(&s->life);
    blob_write(b->redis, slice_of(b->id), text, b->count, b->refs, on_written, b);
}

void body_wait(struct body *b, blob_done_fn *done, void *ctx) {
    b->done = done;
    b->ctx = ctx;
    if (b->answered) finish(b, b->error);
}

void body_release(struct body *b, blob_done_fn *done, void *ctx) {
    b->unwanted = true;
    b->done = done;
    b->ctx = ctx;
    if (b->answered) release(b);
}
