/* imapd: IMAP4rev2 and IMAP4rev1 on 143 (STARTTLS) and 993. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/imapd/imapd.h"

static void on_accept(struct worker *w, evutil_socket_t fd, void *implicit_tls) {
    session_accept(w->state, fd, implicit_tls != NULL);
}

static void on_reap(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    sessions_reap(ctx);
}

/* The safety net: waiting sessions that heard nothing for a while look themselves. */
static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct imapd *i = ctx;
    int64_t now = clock_monotonic_us();
    (void)fd, (void)what;
    for (struct session *s = i->sessions, *next; s; s = next) {
        next = s->next;
        if (s->state != SESSION_SELECTED || now - s->refreshed_us < (int64_t)LIMIT_RESYNC_S * 1000000) continue;
        s->stale = true;
        if (s->idling) session_refresh(s, NULL);
    }
}

static void start(struct worker *w) {
    struct imapd *i = memory_alloc(sizeof *i);
    struct timeval tick = {5, 0};
    w->state = i;
    i->worker = w;
    i->reaper = event_new(w->base, -1, EV_PERSIST, on_reap, i);
    i->clock = event_new(w->base, -1, EV_PERSIST, on_clock, i);
    event_add(i->clock, &tick);
    service_listen(w, "POSTBUS_IMAP_LISTEN", "[::]:143", on_accept, NULL);
    service_listen(w, "POSTBUS_IMAPS_LISTEN", "[::]:993", on_accept, i);
}

static void drain(struct worker *w) {
    struct imapd *i = w->state;
    while (i->sessions) session_bye(i->sessions, "[UNAVAILABLE] Server shutting down; come again");
    event_active(i->reaper, EV_TIMEOUT, 0); /* says service_drained() when the last session is freed */
}

static void stop(struct worker *w) {
    struct imapd *i = w->state;
    event_free(i->reaper);
    event_free(i->clock);
    free(i);
}

int main(void) {
    static const struct service definition = {
        .name = "imapd", .tls = true, .start = start, .drain = drain, .stop = stop};
    return service_run(&definition);
}
