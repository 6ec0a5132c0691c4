/* IDLE (RFC 2177, RFC 9051 §6.3.13): the client waits and is told of changes at once. Events arrive
 * in user.c; the folder's copy wakes the sessions that watch it, and session.c tells them. */
#include "libcommon/base/clock.h"
#include "services/imapd/imapd.h"

static void on_line(struct session *s, struct slice line) {
    s->idling = false;
    snapshot_watch(&s->view.viewer, false);
    if (slice_is_nocase(line, "DONE"))
        session_ok(s, "IDLE done");
    else
        session_bad(s, "Expected DONE");
}

void cmd_idle(struct session *s, struct parser *p) {
    (void)p;
    s->on_line = on_line;
    s->idling = true;
    s->idle_told_us = clock_monotonic_us();
    session_plus(s, "Waiting");
    if (s->state != SESSION_SELECTED) return;
    snapshot_watch(&s->view.viewer, true);
    session_tell(s, true, true, NULL);
}

void idle_keep_alive(struct session *s, int64_t now) {
    if (!s->idling || now - s->idle_told_us < s->imapd->process->keepalive_us) return;
    s->idle_told_us = now;
    session_untagged(s, "OK Still here\r\n");
    session_flush(s);
}
