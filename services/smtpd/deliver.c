/* Asks mailbox.deliver. What becomes ready in one turn of the loop is collected, and goes at the turn's end in as few
 * requests as their bounds allow. */
#include <stdlib.h>

#include "libcommon/base/base64.h"
#include "libcommon/base/clock.h"
#include "services/smtpd/smtpd.h"

/* Of a request (proto-schemas/rpc/mailbox.deliver.request.json). */
enum { MESSAGES_MAX = 64, RCPTS_MAX = 1000, BYTES_MAX = 700 * 1024, RCPT_BYTES = 64 };

struct deliverer {
    struct smtpd *smtpd;
    struct event *turn;
    struct delivery *first, **last; /* that wait for the turn's end */
};

/* One request. */
struct request {
    struct delivery *first;
    size_t count, rcpts, bytes;
};

static size_t bytes_of(const struct delivery *d) {
    size_t n = d->listing.n * 4 / 3 + d->envelope->from.n + 512;
    for (size_t i = 0; i < d->envelope->rcpt_count; i++) n += d->envelope->rcpts[i].address.n + RCPT_BYTES;
    return n;
}

static json_t *message_of(const struct delivery *d) {
    const struct envelope *e = d->envelope;
    json_t *rcpts = json_array();
    for (size_t i = 0; i < e->rcpt_count; i++)
        json_array_append_new(rcpts, json_pack("{s:s%,s:s%}", "rcpt", e->rcpts[i].address.p, e->rcpts[i].address.n,
                                               "user", e->rcpts[i].user.p, e->rcpts[i].user.n));
    json_t *message =
        json_pack("{s:s,s:s%,s:s%,s:I,s:I,s:s,s:b,s:o}", "id", e->id, "from", e->from.p, e->from.n, "folder",
                  e->folder.n ? e->folder.p : "", e->folder.n, "size", (json_int_t)e->size, "date",
                  (json_int_t)(e->received_ms / 1000), "attempt", d->attempt, "held", 1, "rcpts", rcpts);
    if (message) add_base64(message, "listing_b64", d->listing);
    return message;
}

/* The results that a message's part of the answer tells; NULL where there is none. */
static void tell(struct delivery *d, const json_t *message) {
    const char *results[ENVELOPE_RCPTS_MAX];
    const json_t *rcpts = json_object_get(message, "rcpts");
    for (size_t i = 0; i < d->envelope->rcpt_count; i++)
        results[i] = json_string_value(json_object_get(json_array_get(rcpts, i), "result"));
    d->done(d->ctx, results);
}

static void on_delivered(void *ctx, int error, const json_t *reply) {
    struct request *r = ctx;
    const json_t *messages = error ? NULL : json_object_get(reply, "messages");
    struct delivery *d = r->first, *next;
    for (size_t i = 0; d; i++, d = next) {
        const json_t *message = json_array_get(messages, i);
        const char *id = json_string_value(json_object_get(message, "id"));
        next = d->next;
        tell(d, id && strcmp(id, d->envelope->id) == 0 ? message : NULL);
    }
    free(r);
}

static void ask(struct deliverer *x, struct request *r) {
    json_t *messages = json_array();
    for (struct delivery *d = r->first; d; d = d->next) {
        json_t *message = message_of(d);
        json_array_append_new(messages, message ? message : json_object());
    }
    bus_request(x->smtpd->worker->bus, "mailbox.deliver", json_pack("{s:o}", "messages", messages), SMTP_DELIVER_MS,
                on_delivered, r);
}

static void on_turn(evutil_socket_t fd, short what, void *ctx) {
    struct deliverer *x = ctx;
    (void)fd, (void)what;
    while (x->first) {
        struct request *r = memory_alloc(sizeof *r);
        struct delivery **last = &r->first;
        while (x->first && r->count < MESSAGES_MAX) {
            struct delivery *d = x->first;
            size_t bytes = bytes_of(d);
            if (r->count && (r->rcpts + d->envelope->rcpt_count > RCPTS_MAX || r->bytes + bytes > BYTES_MAX)) break;
            x->first = d->next;
            d->next = NULL;
            *last = d;
            last = &d->next;
            r->count++;
            r->rcpts += d->envelope->rcpt_count;
            r->bytes += bytes;
        }
        ask(x, r);
    }
    x->last = &x->first;
}

void deliver(struct deliverer *x, struct delivery *d) {
    d->next = NULL;
    *x->last = d;
    x->last = &d->next;
    event_active(x->turn, EV_TIMEOUT, 0);
}

struct deliverer *deliverer_create(struct smtpd *d) {
    struct deliverer *x = memory_alloc(sizeof *x);
    x->smtpd = d;
    x->last = &x->first;
    x->turn = event_new(d->worker->base, -1, 0, on_turn, x);
    if (!x->turn) memory_exhausted();
    return x;
}

void deliverer_destroy(struct deliverer *x) {
    if (!x) return;
    event_free(x->turn);
    free(x);
}
