/* imapd: IMAP4rev2 and IMAP4rev1 on 143 (STARTTLS) and 993. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"
#include "services/imapd/imapd.h"

static void on_accept(struct worker *w, evutil_socket_t fd, const struct sockaddr *client, void *implicit_tls) {
    session_accept(w->state, fd, client, implicit_tls != NULL);
}

static struct imapd_process process;

/* Deadlines, and folders without an event for a while. */
static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    struct imapd *i = ctx;
    int64_t now = clock_monotonic_us();
    (void)fd, (void)what;
    sessions_check_time(i);
    for (struct session *s = i->sessions; s; s = s->next) {
        idle_keep_alive(s, now);
        if (!s->waits_for_room) continue;
        s->waits_for_room = false;
        s->drained = true;
        life_wake(&s->life);
    }
    snapshots_clock(i->snapshots, now);
}

static void configure(void) {
    const int64_t day = 86400, second = 1000000;
    process.login_us = config_seconds("POSTBUS_IMAP_LOGIN_TIME", LIMIT_LOGIN_TIME, 1, day) * second;
    process.command_us = config_seconds("POSTBUS_IMAP_COMMAND_TIME", LIMIT_COMMAND_TIME, 1, day) * second;
    process.keepalive_us = config_seconds("POSTBUS_IMAP_IDLE_KEEPALIVE", LIMIT_IDLE_KEEPALIVE, 1, day) * second;
    process.progress_us = config_seconds("POSTBUS_IMAP_PROGRESS", LIMIT_PROGRESS, 0, day) * second;
    process.budget.max = (size_t)config_number("POSTBUS_IMAP_MEMORY", LIMIT_MEMORY, LIMIT_APPEND, INT64_MAX);
    process.rate_min = config_number("POSTBUS_IMAP_RATE_MIN", LIMIT_RATE_MIN, 1, 1 << 30);
    process.sessions_per_user =
        (int)config_number("POSTBUS_IMAP_SESSIONS_PER_USER", LIMIT_SESSIONS_PER_USER, 1, LIMIT_SESSIONS_PER_WORKER);
    process.clients = clients_create((size_t)config_number("POSTBUS_IMAP_CONNECTIONS_PER_CLIENT",
                                                           LIMIT_LOGINS_PER_CLIENT, 1, LIMIT_SESSIONS_PER_WORKER));
}

static void start(struct worker *w) {
    struct imapd *i = memory_alloc(sizeof *i);
    struct timeval tick = {1, 0};
    w->state = i;
    i->worker = w;
    i->process = &process;
    i->logins = logins_create(w->base, w->bus);
    i->snapshots = snapshots_create(w->redis);
    i->clock = event_new(w->base, -1, EV_PERSIST, on_clock, i);
    event_add(i->clock, &tick);
    service_listen(w, "POSTBUS_IMAP_LISTEN", "[::]:143", on_accept, NULL);
    service_listen(w, "POSTBUS_IMAPS_LISTEN", "[::]:993", on_accept, i);
}

/* The worker is drained when the last session is freed. */
static void drain(struct worker *w) {
    struct imapd *i = w->state;
    while (i->sessions) session_bye(i->sessions, "[UNAVAILABLE] Server shutting down; try again later");
    if (!i->session_count) service_drained(w);
}

static void stop(struct worker *w) {
    struct imapd *i = w->state;
    event_free(i->clock);
    logins_destroy(i->logins);
    snapshots_destroy(i->snapshots);
    free(i);
}

int main(void) {
    static const struct service definition = {.name = "imapd",
                                              .tls = true,
                                              .many_workers = true,
                                              .configure = configure,
                                              .start = start,
                                              .drain = drain,
                                              .stop = stop};
    int status = service_run(&definition);
    clients_destroy(process.clients);
    return status;
}
