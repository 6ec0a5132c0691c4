/* Asks mailbox.deliver. What becomes ready in one turn of the loop is collected, and goes at the turn's end in as few
 * requests as their bounds allow. */
#include <stdlib.h>

#include "libcommon/base/cost.h"
#include "libcommon/base/json_write.h"
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

static void add_message(const struct delivery *d, struct buf *ask) {
    const struct envelope *e = d->envelope;
    json_open(ask, NULL, '{');
    json_text(ask, "id", slice_of(e->id));
    json_text(ask, "from", e->from);
    json_text(ask, "folder", e->folder);
    json_number(ask, "size", (int64_t)e->size);
    json_number(ask, "date", e->received_ms / 1000);
    json_text(ask, "attempt", slice_of(d->attempt));
    json_flag(ask, "held", true);
    json_base64(ask, "listing_b64", d->listing);
    json_open(ask, "rcpts", '[');
    for (size_t i = 0; i < e->rcpt_count; i++) {
        json_open(ask, NULL, '{');
        json_text(ask, "rcpt", e->rcpts[i].address);
        json_text(ask, "user", e->rcpts[i].user);
        json_close(ask, '}');
    }
    json_close(ask, ']');
    json_close(ask, '}');
}

/* The results that a message's part of the answer tells; NULL where there is none. */
static void tell(struct delivery *d, yyjson_val *message) {
    const char *results[ENVELOPE_RCPTS_MAX] = {0};
    yyjson_val *one;
    size_t i, n;
    yyjson_arr_foreach(yyjson_obj_get(message, "rcpts"), i, n, one) if (i < d->envelope->rcpt_count) results[i] =
        answer_text(one, "result");
    d->done(d->ctx, results);
}

static void on_delivered(void *ctx, int error, struct slice reply) {
    struct request *r = ctx;
    yyjson_doc *doc = error ? NULL : yyjson_read(reply.p, reply.n, 0);
    yyjson_val *messages = yyjson_obj_get(yyjson_doc_get_root(doc), "messages");
    struct delivery *d = r->first, *next;
    cost_add(COST_JSON_READ, 1);
    for (size_t i = 0; d; i++, d = next) {
        yyjson_val *message = yyjson_arr_get(messages, i);
        const char *id = answer_text(message, "id");
        next = d->next;
        tell(d, id && strcmp(id, d->envelope->id) == 0 ? message : NULL);
    }
    yyjson_doc_free(doc);
    free(r);
}

static void ask_mailbox(struct deliverer *x, struct request *r) {
    struct buf ask = {0};
    json_open(&ask, NULL, '{');
    json_open(&ask, "messages", '[');
    for (struct delivery *d = r->first; d; d = d->next) add_message(d, &ask);
    json_close(&ask, ']');
    json_close(&ask, '}');
    cost_add(COST_JSON_WRITTEN, 1);
    bus_request_text(x->smtpd->worker->bus, "mailbox.deliver", buf_slice(&ask), SMTP_DELIVER_MS, on_delivered, r);
    buf_free(&ask);
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
        ask_mailbox(x, r);
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
