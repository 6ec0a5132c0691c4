#include "libcommon/base/clock.h"
#include "services/smtpd/smtpd.h"

enum { SECOND_US = 1000 * 1000 };

/* The client's present deadline (clock_monotonic_us) and the reply when it passes; INT64_MAX: there
 * is none. */
static int64_t deadline_of(const struct session *s, const char **words) {
    const struct smtpd_process *p = s->smtpd->process;
    if (s->then || s->commit || s->pending) return INT64_MAX;
    if (s->mode == MODE_DATA || s->mode == MODE_BDAT) {
        *words = "The message arrives too slowly";
        return s->t.data_since_us + p->data_s * SECOND_US +
               (int64_t)(s->t.data_bytes / (uint64_t)p->rate_min) * SECOND_US;
    }
    int64_t at = s->since_us + p->command_s * SECOND_US;
    *words = "Timeout waiting for a command";
    if (session_is_submission(s) && !s->user && s->connected_us + p->login_s * SECOND_US < at) {
        at = s->connected_us + p->login_s * SECOND_US;
        *words = "Timeout waiting for a login";
    }
    if (s->connected_us + p->session_s * SECOND_US < at) {
        at = s->connected_us + p->session_s * SECOND_US;
        *words = "The session has lasted too long, connect again";
    }
    return at;
}

/* The timer is only set to earlier times: most deadlines have moved by the time it fires. */
static void set_clock(struct session *s, int64_t at) {
    int64_t now = clock_monotonic_us(), wait = at > now ? at - now : 0;
    struct timeval tv = {wait / SECOND_US, wait % SECOND_US};
    if (at == INT64_MAX || (s->clock_us && s->clock_us <= at)) return;
    s->clock_us = at;
    event_add(s->clock, &tv);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct session *s = ctx;
    const char *words = "";
    (void)fd, (void)what;
    int64_t at = deadline_of(s, &words);
    s->clock_us = 0;
    if (at <= clock_monotonic_us()) {
        session_close(s, "421 4.4.2 %s %s, closing connection", s->smtpd->worker->hostname, words);
        life_wake(&s->life);
    } else {
        set_clock(s, at);
    }
}

void deadline_start(struct session *s) {
    s->connected_us = s->since_us = clock_monotonic_us();
    s->clock = event_new(s->smtpd->worker->base, -1, 0, on_clock, s);
    if (!s->clock) memory_exhausted();
}

void deadline_update(struct session *s) {
    const char *words;
    set_clock(s, deadline_of(s, &words));
}
