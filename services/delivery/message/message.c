#include "services/delivery/message/message.h"

#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/blob.h"
#include "libcommon/store/queue.h"
#include "services/delivery/message/parts.h"
#include "services/delivery/message/settlement.h"
#include "services/delivery/report/report.h"

enum { REPORT_AGAIN_MS = 1000, REPORT_AGAIN_LAST_MS = 10000, RELEASE_TRIES = 30, KEPT_MS = 3600000 };

static void on_again(evutil_socket_t fd, short what, void *ctx) {
    struct message *m = ctx;
    (void)fd, (void)what;
    m->waiting = false;
    life_wake(&m->life);
}

void message_adopt(struct message *m, const char *token, int64_t lease_asked_us) {
    m->adopted = m->begun = true;
    m->waiting = false;
    event_del(m->again);
    message_take_lease(m, token, lease_asked_us);
}

/* The end */

static void end(struct message *m) {
    if (m->ended) return;
    m->ended = true;
    event_del(m->again);
    m->on_end(m->on_end_ctx, m);
    life_end(&m->life);
}

static void on_released(void *ctx, int error) {
    struct message *m = ctx;
    if (error && error != STORE_LOST && error != STORE_NOT_FOUND)
        log_info("a lease could not be given back; it ends by itself", "id", m->envelope->id, "reason",
                 store_error_text(error), NULL);
    end(m);
    life_release(&m->life);
}

/* The entry was removed, so the queue no longer needs the body. */
static void on_body_released(void *ctx, int error) {
    struct message *m = ctx;
    m->giving_back = false;
    if (error == STORE_UNAVAILABLE && m->record_failures++ < RELEASE_TRIES)
        message_wait(m, DELIVERY_RECORD_RETRY_MS);
    else
        end(m);
    life_release(&m->life);
}

static void give_back(struct message *m) {
    static const struct slice queue_ref = {BLOB_REF_QUEUE, sizeof BLOB_REF_QUEUE - 1};
    struct redis *redis = m->delivery->worker->redis;
    struct slice id = slice_of(m->envelope->id);
    m->giving_back = true;
    life_hold(&m->life);
    if (m->gone)
        blob_release(redis, id, 1, &queue_ref, on_body_released, m);
    else
        queue_release(redis, id, m->token, on_released, m);
}

/* Reports */

static void on_reported(void *ctx, int error) {
    struct message *m = ctx;
    m->reporting = false;
    if (error == QUEUE_GONE) m->gone = true;
    if (error == STORE_LOST) m->lost = true;
    if (error < 0 && error != STORE_LOST) {
        int64_t pause = (int64_t)REPORT_AGAIN_MS << (m->report_failures < 10 ? m->report_failures : 10);
        log_warn("a report to the sender could not be made; it is tried again", "id", m->envelope->id, "reason",
                 store_error_text(error), NULL);
        if (++m->report_failures >= DELIVERY_REPORT_TRIES || service_is_draining())
            m->abandoned = true; /* it stays owed: the next worker that leases the entry sends it */
        else
            message_wait(m, pause < REPORT_AGAIN_LAST_MS ? pause : REPORT_AGAIN_LAST_MS);
    } else {
        m->report_failures = 0;
    }
    life_release(&m->life);
}

/* After a lost lease there is nothing to do, but a remote server's 250 that is not recorded is kept
 * for an hour: when this worker leases the entry again, it is recorded first (message_adopt). */
static bool keep(struct message *m) {
    int64_t now = clock_wall_ms();
    bool known = false;
    for (size_t i = 0; i < m->envelope->rcpt_count; i++)
        known = known || (m->progress[i].unrecorded && m->envelope->rcpts[i].state == RCPT_SENT);
    if (!known || service_is_draining()) return false;
    if (!m->kept_until_ms) m->kept_until_ms = now + KEPT_MS;
    if (now >= m->kept_until_ms) return false;
    message_wait(m, m->kept_until_ms - now);
    return true;
}

/* Other recipients may become due while some are being tried. */
static void look_again_at(struct message *m, int64_t when_ms) {
    int64_t pause = when_ms - clock_wall_ms();
    if (!when_ms) return;
    if (pause < 1) pause = 1;
    struct timeval wait = {pause / 1000, pause % 1000 * 1000};
    event_add(m->again, &wait);
}

/* The run */

static void run(void *ctx) {
    struct message *m = ctx;
    if (m->ended || m->giving_back) return;
    if (m->recording || m->reporting) return;
    if (m->waiting && !(m->lost && service_is_draining()))
        return; /* nothing more can come of a lost one that is kept */
    if (m->unrecorded && !m->lost) {
        settlement_record(m);
        return;
    }
    if (m->outstanding) {
        if (m->begun && message_may_go_on(m) && !service_is_draining()) look_again_at(m, parts_start_due(m));
        return;
    }
    if (m->lost && keep(m)) return;
    if (m->lost || m->abandoned) {
        end(m);
        return;
    }
    if (!m->gone && !m->adopted && settlement_owes(m)) { /* also those that were owed before this
                                                            lease, and before any new attempt */
        m->reporting = true;
        life_hold(&m->life);
        report_owed(m->delivery, m->envelope, m->token, on_reported, m);
        return;
    }
    if (!m->begun && !service_is_draining()) {
        m->begun = true;
        parts_start(m);
        if (m->outstanding || m->unrecorded) {
            life_wake(&m->life);
            return;
        }
    }
    give_back(m);
}

static void message_free(void *ctx) {
    struct message *m = ctx;
    for (size_t i = 0; i < m->envelope->rcpt_count; i++) json_decref(m->progress[i].details);
    free(m->progress);
    free(m->recorded);
    event_free(m->again);
    envelope_destroy(m->envelope);
    free(m);
}

static void owner_settle(void *ctx, size_t count, const size_t indexes[], const struct outcome outcomes[]) {
    message_settle(ctx, count, indexes, outcomes);
}

static bool owner_may_go_on(void *ctx) { return message_may_go_on(ctx); }

static void owner_began(void *ctx) {
    struct message *m = ctx;
    m->outstanding++;
    life_hold(&m->life);
}

static void owner_ended(void *ctx) {
    struct message *m = ctx;
    m->outstanding--;
    life_release(&m->life);
}

struct message *message_start(struct delivery *d, struct envelope *e, const char *token, int64_t lease_asked_us,
                              void (*on_end)(void *ctx, struct message *m), void *ctx) {
    struct message *m = memory_alloc(sizeof *m);
    m->delivery = d;
    m->envelope = e;
    m->waives = -1;
    m->on_end = on_end;
    m->on_end_ctx = ctx;
    m->progress = memory_alloc((e->rcpt_count + 1) * sizeof *m->progress);
    m->recorded = memory_alloc((e->rcpt_count + 1) * sizeof *m->recorded);
    m->again = event_new(d->worker->base, -1, 0, on_again, m);
    m->owner = (struct transaction_owner){m, e, owner_settle, owner_may_go_on, owner_began, owner_ended};
    life_start(&m->life, d->worker->base, run, message_free, m);
    message_take_lease(m, token, lease_asked_us);
    return m;
}
