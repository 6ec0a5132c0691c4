#include "services/delivery/message/settlement.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/queue.h"
#include "services/delivery/report/report.h"

static struct metric delivered =
    METRIC_COUNTER("postbus_delivery_delivered_total", "Recipients delivered to a mailbox here");
static struct metric sent = METRIC_COUNTER("postbus_delivery_sent_total", "Recipients handed to another server");
static struct metric deferred = METRIC_COUNTER("postbus_delivery_deferred_total", "Tries that will be made again");
static struct metric bounced = METRIC_COUNTER("postbus_delivery_bounced_total", "Recipients given up");
static struct metric *const metrics[] = {&delivered, &sent, &deferred, &bounced}; /* by enum outcome_kind */

void message_settle(struct message *m, size_t count, const size_t indexes[], const struct outcome outcomes[]) {
    for (size_t i = 0; i < count; i++) {
        struct progress *p = &m->progress[indexes[i]];
        const struct envelope_rcpt *before = &m->envelope->rcpts[indexes[i]];
        p->quiet =
            outcomes[i].not_counted && before->state == RCPT_DEFERRED && slice_is(before->reply, outcomes[i].reason);
        outcome_apply(m->envelope, indexes[i], &outcomes[i], &m->delivery->policy, clock_wall_ms(),
                      randombytes_random());
        metric_add(metrics[outcomes[i].kind], 1);
        p->in_work = false;
        if (!p->unrecorded) m->unrecorded++;
        p->unrecorded = true;
        json_decref(p->details);
        p->details = json_incref(outcomes[i].details);
    }
    message_wake(m);
}

static struct slice host_of(const struct envelope_rcpt *r) { return r->host; }

/* Logs and publishes an outcome; the event of a bounce is published with its report (report.c). */
static void tell(const struct message *m, size_t index) {
    static const char *const words[] = {"due", "deferred", "delivered", "sent", "bounced"};
    const struct envelope *e = m->envelope;
    const struct envelope_rcpt *r = &e->rcpts[index];
    struct slice domain = envelope_domain(r->address), host = host_of(r);
    char when[CLOCK_TEXT_BYTES];
    const char *event = "mail.sent";
    json_t *data = NULL;
    if (r->state == RCPT_SENT) {
        data = json_pack("{s:s%,s:s%,s:s%,s:i,s:s%,s:s%}", "rcpt", r->address.p, r->address.n, "domain", domain.p,
                         domain.n, "host", host.p, host.n, "code", r->code, "enhanced", r->enhanced.p, r->enhanced.n,
                         "reply", r->reply.p, r->reply.n);
        if (data && m->progress[index].details) json_object_update(data, m->progress[index].details);
        if (data && r->from.p) json_object_set_new(data, "from", json_stringn(r->from.p, r->from.n));
    } else if (r->state == RCPT_DEFERRED) {
        event = "mail.deferred";
        data = json_pack("{s:s%,s:i,s:s,s:s%,s:i,s:s%,s:s%}", "rcpt", r->address.p, r->address.n, "attempt",
                         r->attempts, "next", clock_rfc3339(r->next_ms, when), "host", host.p, host.n, "code", r->code,
                         "enhanced", r->enhanced.p, r->enhanced.n, "reason", r->reply.p, r->reply.n);
    }
    if (data)
        bus_publish(m->delivery->worker->bus, event, slice_of(e->id),
                    data); /* the mailbox service publishes mail.delivered */
    char address[600], from[300], reason[700], enhanced[16];
    snprintf(address, sizeof address, "%.*s", SLICE_FMT(r->address));
    snprintf(from, sizeof from, "%.*s", SLICE_FMT(host));
    snprintf(reason, sizeof reason, "%.*s", SLICE_FMT(r->reply));
    snprintf(enhanced, sizeof enhanced, "%.*s", SLICE_FMT(r->enhanced));
    log_info(words[r->state], "id", e->id, "rcpt", address, "host", from, "enhanced", enhanced, "reason", reason, NULL);
}

static void on_recorded(void *ctx, int error) {
    struct message *m = ctx;
    m->recording = false;
    for (size_t i = 0; i < m->recorded_count; i++) m->progress[m->recorded[i]].recording = false;
    if (error == STORE_LOST) {
        log_warn("the lease of a message is lost before its outcome was recorded", "id", m->envelope->id, NULL);
        m->lost = true;
    } else if (error < 0 && error != STORE_NOT_FOUND) {
        if (m->record_failures++ == 0)
            log_warn("an outcome cannot be recorded now; it is kept until it can", "id", m->envelope->id, "reason",
                     store_error_text(error), NULL);
        message_wait(m, DELIVERY_RECORD_RETRY_MS);
    } else {
        m->record_failures = 0;
        m->gone = m->gone || error == QUEUE_GONE || error == STORE_NOT_FOUND;
        for (size_t i = 0; i < m->recorded_count; i++) {
            struct progress *p = &m->progress[m->recorded[i]];
            p->unrecorded = false;
            m->unrecorded--;
            if (!p->quiet || m->envelope->rcpts[m->recorded[i]].state != RCPT_DEFERRED) tell(m, m->recorded[i]);
            if (m->envelope->rcpts[m->recorded[i]].state == RCPT_BOUNCED &&
                m->envelope->rcpts[m->recorded[i]].owed == REPORT_NONE)
                report_tell_bounced(m->delivery, m->envelope, m->recorded[i], NULL);
            json_decref(p->details);
            p->details = NULL;
        }
    }
    life_release(&m->life);
}

void settlement_record(struct message *m) {
    m->recorded_count = 0;
    for (size_t i = 0; i < m->envelope->rcpt_count; i++)
        if (m->progress[i].unrecorded) {
            m->progress[i].recording = true;
            m->recorded[m->recorded_count++] = i;
        }
    m->recording = true;
    life_hold(&m->life);
    queue_record(m->delivery->worker->redis, m->envelope, m->token, m->recorded_count, m->recorded, on_recorded, m);
}

bool settlement_owes(const struct message *m) {
    for (size_t i = 0; i < m->envelope->rcpt_count; i++)
        if (m->envelope->rcpts[i].owed != REPORT_NONE) return true;
    return false;
}
