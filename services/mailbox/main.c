#include "services/mailbox/mailbox_service.h"

static void start(struct worker *w) {
    struct mailbox_worker *m = memory_alloc(sizeof *m);
    m->worker = w;
    w->state = m;
    deliver_serve(m);
    stat_serve(m);
    user_serve(m);
}

static void drain(struct worker *w) {
    struct mailbox_worker *m = w->state;
    m->draining = true;
    if (m->requests == 0) service_drained(w);
}

static void stop(struct worker *w) { free(w->state); }

static const struct service definition = {.name = "mailbox", .start = start, .drain = drain, .stop = stop};

int main(void) { return service_run(&definition); }
