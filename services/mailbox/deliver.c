/* Step 8: delivers messages into mailboxes, once per message and recipient even if a request is
 * repeated (docs/laws.md, law 2). One request has many messages; all are sent to the store at once,
 * and one reply has the result for every recipient. */
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "libcommon/codec/events.h"
#include "services/mailbox/deliver.h"

static struct metric delivered = METRIC_COUNTER("postbus_mailbox_delivered_total", "Messages put into mailboxes");
static struct metric duplicates =
    METRIC_COUNTER("postbus_mailbox_duplicate_deliveries_total", "Deliveries asked for that had happened before");
static struct metric refused =
    METRIC_COUNTER("postbus_mailbox_refused_deliveries_total", "Deliveries that did not happen");
static struct metric asked = METRIC_COUNTER("postbus_mailbox_deliver_requests_total", "Requests of mailbox.deliver");

static void tell(struct deliver_message *d, const struct deliver_rcpt *r) {
    if (r->error) {
        metric_add(&refused, 1);
        log_info("not delivered", "id", d->id.p, "rcpt", r->rcpt.p, "user", r->user.p, "result",
                 deliver_result(r->error), NULL);
        return;
    }
    metric_add(r->duplicate ? &duplicates : &delivered, 1);
    log_info(r->duplicate ? "delivered before" : "delivered", "id", d->id.p, "rcpt", r->rcpt.p, "user", r->user.p,
             "folder", r->folder.p, NULL);
    /* The requester reports a first direct delivery in mail.accepted. A duplicate is reported
     * again: the process that delivered it may have been killed before the event. */
    if (d->held && !r->duplicate) return;
    struct mail_delivered event = {r->rcpt, r->user, r->folder, (int64_t)r->uid, (int64_t)r->modseq};
    struct buf *text = &d->request->m->scratch;
    buf_reset(text);
    if (mail_delivered_write(&event, text))
        bus_publish_text(d->request->m->worker->bus, "mail.delivered", d->id, buf_slice(text));
}

/* By user and folder, the latest first. */
static int by_folder(const void *one, const void *other) {
    const struct deliver_rcpt *a = *(const struct deliver_rcpt *const *)one,
                              *b = *(const struct deliver_rcpt *const *)other;
    int order = memcmp(a->user.p, b->user.p, ULID_LENGTH);
    if (order) return order;
    if (a->folder_id != b->folder_id) return a->folder_id < b->folder_id ? -1 : 1;
    return (a->modseq < b->modseq) - (a->modseq > b->modseq);
}

/* Publishes one mailbox.changed for each user and folder. */
static void tell_changes(struct deliver_request *r) {
    const struct deliver_rcpt **all = arena_alloc(r->arena, (r->rcpt_count + 1) * sizeof(struct deliver_rcpt *));
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        for (size_t j = 0; j < r->messages[i].count; j++)
            if (!r->messages[i].rcpts[j].error) all[n++] = &r->messages[i].rcpts[j];
    if (n) qsort(all, n, sizeof *all, by_folder);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !slice_equal(all[i - 1]->user, all[i]->user) || all[i - 1]->folder_id != all[i]->folder_id)
            say_changed(r->m, all[i]->user, all[i]->folder_id, all[i]->modseq, "delivered");
}

static void request_free(struct deliver_request *r) {
    struct mailbox_worker *m = r->m;
    size_t bytes = r->bytes;
    arena_destroy(r->arena);
    free(r);
    requests_end(m, bytes);
}

static void request_step(struct deliver_request *r) {
    if (--r->waiting) return;
    struct buf *reply = &r->m->scratch;
    tell_changes(r);
    for (size_t i = 0; i < r->count; i++)
        for (size_t j = 0; j < r->messages[i].count; j++) tell(&r->messages[i], &r->messages[i].rcpts[j]);
    buf_reset(reply);
    deliver_write(r, reply);
    bus_answer_text(r->call, buf_slice(reply));
    request_free(r);
}

static void on_message_done(struct deliver_message *d) { request_step(d->request); }

static void on_ask(void *ctx, struct bus_call *call, struct slice ask) {
    struct mailbox_worker *m = ctx;
    if (!requests_begin(m, call, ask.n)) return;
    struct deliver_request *r = memory_alloc(sizeof *r);
    *r = (struct deliver_request){
        .m = m, .call = call, .arena = arena_create(), .bytes = ask.n, .done = on_message_done};
    const char *fault = deliver_read(r, ask);
    metric_add(&asked, 1);
    if (fault) {
        bus_refuse(call, "invalid", fault);
        request_free(r);
        return;
    }
    r->waiting = r->count + 1;
    for (size_t i = 0; i < r->count; i++) deliver_message(&r->messages[i]);
    request_step(r);
}

void deliver_serve(struct mailbox_worker *m) { bus_serve_text(m->worker->bus, "deliver", on_ask, m); }
