#include "services/delivery/session/connection.h"

#include <stdio.h>

#include "services/delivery/limits.h"

void session_wake_owner(struct session *s) {
    if (s->set.owner) life_wake(s->set.owner);
}

void session_close(struct session *s, const char *why) {
    if (s->phase == CLOSED) return;
    if (why != s->why) snprintf(s->why, sizeof s->why, "%s", why);
    s->phase = CLOSED;
    stream_finish(s->stream);
    s->stream = NULL;
    session_wake_owner(s);
}

void session_idle(struct session *s) {
    s->phase = IDLE;
    stream_set_timeout(s->stream, SESSION_IDLE_MS);
    session_wake_owner(s);
}

void session_cut(struct session *s) {
    stream_destroy(s->stream);
    s->stream = NULL;
    s->phase = CLOSED;
}
