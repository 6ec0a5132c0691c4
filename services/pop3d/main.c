/* Step 9, the other door: POP3 on 110 and 995. */
#include <stdlib.h>

#include "services/pop3d/pop3d.h"

static void on_accept(struct worker *w, evutil_socket_t fd, void *implicit_tls) {
    session_accept(w->state, fd, implicit_tls != NULL);
}

static void start(struct worker *w) {
    struct pop3d *p = memory_alloc(sizeof *p);
    p->worker = w;
    w->state = p;
    service_listen(w, "POSTBUS_POP3_LISTEN", "[::]:110", on_accept, NULL);
    service_listen(w, "POSTBUS_POP3S_LISTEN", "[::]:995", on_accept, p);
}

static void drain(struct worker *w) {
    struct pop3d *p = w->state;
    if (p->count == 0) {
        service_drained(w);
        return;
    }
    for (struct session *s = p->sessions, *next; s; s = next) {
        next = s->next;
        if (s->waits == 0) { /* the others end when their command is done */
            session_close(s, "[SYS/TEMP] the server is shutting down, come again");
            session_continue(s);
        }
    }
}

static void stop(struct worker *w) { free(w->state); }

static const struct service definition = {.name = "pop3d", .tls = true, .start = start, .drain = drain, .stop = stop};

int main(void) { return service_run(&definition); }
