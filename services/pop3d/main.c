/* Start of pop3d: POP3 on 110 and 995 (step 9 of a mail). */
#include <stdlib.h>

#include "libcommon/base/config.h"
#include "services/pop3d/pop3d.h"

static void on_accept(struct worker *w, evutil_socket_t fd, const struct sockaddr *client, void *implicit_tls) {
    session_accept(w->state, fd, client, implicit_tls != NULL);
}

static struct pop3d_process process;

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    locks_keep(ctx);
    sessions_check_time(ctx);
}

static void configure(void) {
    const int64_t day = 86400, second = 1000000;
    process.login_us = config_seconds("POSTBUS_POP3_LOGIN_TIME", POP3_LOGIN_TIME, 1, day) * second;
    process.command_us = config_seconds("POSTBUS_POP3_COMMAND_TIME", POP3_COMMAND_TIME, 1, day) * second;
    process.clients = clients_create(
        (size_t)config_number("POSTBUS_POP3_CONNECTIONS_PER_CLIENT", POP3_LOGINS_PER_CLIENT, 1, POP3_SESSIONS_MAX));
}

static void start(struct worker *w) {
    struct pop3d *p = memory_alloc(sizeof *p);
    struct timeval tick = {1, 0};
    p->worker = w;
    p->process = &process;
    w->state = p;
    p->logins = logins_create(w->base, w->bus);
    p->clock = event_new(w->base, -1, EV_PERSIST, on_clock, p);
    event_add(p->clock, &tick);
    service_listen(w, "POSTBUS_POP3_LISTEN", "[::]:110", on_accept, NULL);
    service_listen(w, "POSTBUS_POP3S_LISTEN", "[::]:995", on_accept, p);
}

/* Sessions without pending waits end now, the others when their command is complete. */
static void drain(struct worker *w) {
    struct pop3d *p = w->state;
    if (p->count == 0) service_drained(w);
    for (struct session *s = p->sessions; s; s = s->next) life_wake(&s->life);
}

static void stop(struct worker *w) {
    struct pop3d *p = w->state;
    event_free(p->clock);
    logins_destroy(p->logins);
    free(p);
}

int main(void) {
    static const struct service definition = {.name = "pop3d",
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
