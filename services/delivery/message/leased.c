#include "services/delivery/message/leased.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/queue.h"

bool message_may_go_on(const struct message *m) {
    return !m->lost && !m->adopted && clock_monotonic_us() < m->lease_end_us;
}

void message_wake(struct message *m) { life_wake(&m->life); }

void message_wait(struct message *m, int64_t ms) {
    struct timeval pause = {ms / 1000, ms % 1000 * 1000};
    m->waiting = true;
    event_add(m->again, &pause);
}

struct extension {
    struct message *message;
    int64_t asked_us;
};

static void on_extended(void *ctx, int error) {
    struct extension *x = ctx;
    struct message *m = x->message;
    m->extending = false;
    if (!error) m->lease_end_us = x->asked_us + m->delivery->lease_ms * 1000;
    if (error == STORE_LOST || error == STORE_NOT_FOUND) {
        if (!m->lost) log_warn("the lease of a message is lost; its work stops here", "id", m->envelope->id, NULL);
        m->lost = true;
    }
    free(x);
    life_release(&m->life);
}

void message_extend(struct message *m) {
    if (m->lost || m->ended || m->extending || m->giving_back || m->gone) return;
    struct extension *x = memory_alloc(sizeof *x);
    *x = (struct extension){m, clock_monotonic_us()};
    m->extending = true;
    life_hold(&m->life);
    queue_extend(m->delivery->worker->redis, slice_of(m->envelope->id), m->token, m->delivery->lease_ms, on_extended,
                 x);
}

void message_take_lease(struct message *m, const char *token, int64_t lease_asked_us) {
    snprintf(m->token, sizeof m->token, "%s", token);
    m->lease_end_us = lease_asked_us + m->delivery->lease_ms * 1000;
    m->lost = false;
    life_wake(&m->life);
}
