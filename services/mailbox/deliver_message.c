/* One message of a request: its references and its listing, unless the requester has provided them;
 * then one Function for each user. */
#include <stdlib.h>

#include "libcommon/store/blob.h"
#include "services/mailbox/deliver.h"

/* Reading: the body is read once, with the first recipient's reference taken in the same step; the
 * other references are added at the same time. A recipient without a reference is not delivered. */

struct hold {
    struct deliver_message *message;
    struct deliver_rcpt *rcpt;
};

static void put(struct deliver_message *d);

static void fail(struct deliver_rcpt *r, int error) {
    bool lost = error == STORE_NOT_FOUND; /* the message is missing, not the user: never a reason to
                                             bounce */
    r->error = lost ? STORE_UNAVAILABLE : error;
    if (lost) r->message = "the message's body cannot be read";
}

static void reading_step(struct deliver_message *d) {
    if (--d->waiting) return;
    window_done(&d->request->m->window, &d->reading);
    put(d);
}

static void on_hold(void *ctx, int error) {
    struct hold *h = ctx;
    if (error) fail(h->rcpt, error);
    reading_step(h->message);
}

static void on_read(void *ctx, int error, struct slice message) {
    struct deliver_message *d = ctx;
    if (error) {
        for (size_t i = 0; i < d->order_count; i++) fail(d->order[i], error);
    } else {
        struct buf listing = {0};
        mailbox_listing_build(message, &listing);
        d->listing = arena_slice(d->request->arena, buf_slice(&listing));
        d->size = message.n;
        buf_free(&listing);
    }
    reading_step(d);
}

static void start_reading(struct window_step *step) {
    struct deliver_message *d =
        (struct deliver_message *)(void *)((char *)step - offsetof(struct deliver_message, reading));
    struct redis *redis = d->request->m->worker->redis;
    char ref[MAILBOX_REF_MAX];
    size_t holds = d->held ? 0 : d->order_count - 1;
    d->waiting = holds + 1;
    for (size_t i = 1; i <= holds; i++) {
        struct hold *h = arena_alloc(d->request->arena, sizeof *h);
        *h = (struct hold){d, d->order[i]};
        blob_hold(redis, d->id, mailbox_blob_ref(ref, h->rcpt->user, h->rcpt->rcpt, d->attempt), on_hold, h);
    }
    if (!d->held) mailbox_blob_ref(ref, d->order[0]->user, d->order[0]->rcpt, d->attempt);
    blob_read(redis, d->id, d->held ? NULL : ref, on_read, d);
}

/* Delivering */

/* Each recipient's message has a copy of the listing; this bounds the bytes that one Function
 * writes. */
enum { FUNCTION_BYTES_MAX = 512 * 1024 };

struct group {
    struct window_step step;
    struct deliver_message *message;
    size_t count;
    struct deliver_rcpt *rcpts[MAILBOX_RECIPIENTS_MAX]; /* of one user */
};

static void message_step(struct deliver_message *d) {
    if (--d->waiting == 0) d->request->done(d);
}

static void on_delivered(void *ctx, size_t count, const struct mailbox_delivered results[]) {
    struct group *g = ctx;
    struct deliver_message *d = g->message;
    for (size_t i = 0; i < g->count; i++) {
        struct deliver_rcpt *r = g->rcpts[i];
        r->error = i < count ? results[i].error : STORE_UNAVAILABLE;
        if (r->error) continue;
        r->folder = arena_slice(d->request->arena, results[i].folder);
        r->folder_id = results[i].folder_id;
        r->uid = results[i].uid;
        r->modseq = results[i].modseq;
        r->duplicate = results[i].duplicate;
    }
    window_done(&d->request->m->window, &g->step);
    message_step(d);
}

static void start_group(struct window_step *step) {
    struct group *g = (struct group *)(void *)((char *)step - offsetof(struct group, step));
    struct deliver_message *d = g->message;
    struct mailbox_recipient rcpts[MAILBOX_RECIPIENTS_MAX];
    struct buf prefix[MAILBOX_RECIPIENTS_MAX] = {0};
    for (size_t i = 0; i < g->count; i++) {
        buf_printf(&prefix[i], "Return-Path: <%.*s>\r\nDelivered-To: %.*s\r\n", SLICE_FMT(d->from),
                   SLICE_FMT(g->rcpts[i]->rcpt));
        rcpts[i] = (struct mailbox_recipient){g->rcpts[i]->rcpt, buf_slice(&prefix[i])};
    }
    struct mailbox_delivery delivery = {.id = d->id,
                                        .attempt = d->attempt,
                                        .folder = d->folder,
                                        .listing = d->listing,
                                        .size = d->size,
                                        .date = d->date,
                                        .count = g->count,
                                        .rcpts = rcpts};
    mailbox_deliver(d->request->m->worker->redis, g->rcpts[0]->user, &delivery, on_delivered, g);
    for (size_t i = 0; i < g->count; i++) buf_free(&prefix[i]);
}

static void put(struct deliver_message *d) {
    struct deliver_rcpt **order = d->order;
    size_t at = 0, ready = 0, most = FUNCTION_BYTES_MAX / (d->listing.n + 1);
    if (most < 1) most = 1;
    if (most > MAILBOX_RECIPIENTS_MAX) most = MAILBOX_RECIPIENTS_MAX;
    for (size_t i = 0; i < d->order_count; i++)
        if (!order[i]->error) order[ready++] = order[i];
    d->waiting = 1;
    while (at < ready) {
        struct group *g = arena_alloc(d->request->arena, sizeof *g);
        g->message = d;
        g->step = (struct window_step){.cost = d->listing.n, .start = start_group};
        do {
            g->rcpts[g->count++] = order[at++];
        } while (at < ready && g->count < most && slice_equal(order[at]->user, g->rcpts[0]->user));
        d->waiting++;
        window_add(&d->request->m->window, &g->step);
    }
    message_step(d);
}

/* By user; recipients of one user in the order in which they came. */
static int by_user(const void *one, const void *other) {
    const struct deliver_rcpt *a = *(struct deliver_rcpt *const *)one, *b = *(struct deliver_rcpt *const *)other;
    int order = memcmp(a->user.p, b->user.p, ULID_LENGTH);
    return order ? order : (a > b) - (a < b);
}

/* Releases the reference that the requester added for a recipient that is refused without asking
 * the store. */
static void release_refused(struct deliver_message *d, const struct deliver_rcpt *r) {
    char text[MAILBOX_REF_MAX];
    if (!d->held || !ulid_is_valid(d->id) || !mailbox_attempt_is_valid(d->attempt)) return;
    struct slice ref = slice_of(mailbox_blob_ref(text, r->user, r->rcpt, d->attempt));
    blob_release(d->request->m->worker->redis, d->id, 1, &ref, NULL, NULL);
}

void deliver_message(struct deliver_message *d) {
    d->order = arena_alloc(d->request->arena, d->count * sizeof *d->order);
    for (size_t i = 0; i < d->count; i++) {
        if (d->rcpts[i].error)
            release_refused(d, &d->rcpts[i]);
        else
            d->order[d->order_count++] = &d->rcpts[i];
    }
    if (d->order_count) qsort(d->order, d->order_count, sizeof *d->order, by_user);
    if (d->order_count == 0 || d->listing.n) {
        put(d);
        return;
    }
    d->reading = (struct window_step){.cost = d->size < WINDOW_BYTES_MAX ? (size_t)d->size : WINDOW_BYTES_MAX,
                                      .start = start_reading};
    window_add(&d->request->m->window, &d->reading);
}
