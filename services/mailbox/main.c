#include "services/mailbox/janitor.h"
#include "services/mailbox/mover.h"

static void start(struct worker *w) {
    struct mailbox_worker *m = memory_alloc(sizeof *m);
    m->worker = w;
    w->state = m;
    deliver_serve(m);
    stat_serve(m);
    user_serve(m);
    m->janitor = janitor_create(m);
    m->mover = mover_create(m);
}

static void drain(struct worker *w) {
    struct mailbox_worker *m = w->state;
    m->draining = true;
    janitor_drain(m->janitor);
    mover_drain(m->mover);
    if (m->requests == 0) service_drained(w);
}

static void stop(struct worker *w) {
    struct mailbox_worker *m = w->state;
    janitor_stop(m->janitor);
    mover_stop(m->mover);
    buf_free(&m->scratch);
    free(m);
}

static const struct service definition = {.name = "mailbox", .start = start, .drain = drain, .stop = stop};

int main(void) { return service_run(&definition); }
