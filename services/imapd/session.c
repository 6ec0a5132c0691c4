/* What commands need of their session: output, waits, the end. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/imapd/imapd.h"
#include "services/imapd/write.h"

static void leave_client(struct session *s) {
    if (s->counted) clients_leave(s->imapd->process->clients, stream_peer(s->stream));
    s->counted = false;
}

/* The session has ended: removes it from the worker's lists; life.h frees it. */
static void session_detach(struct session *s) {
    struct imapd *i = s->imapd;
    user_leave(s);
    s->stream = NULL;
    if (s->previous)
        s->previous->next = s->next;
    else
        i->sessions = s->next;
    if (s->next) s->next->previous = s->previous;
    life_end(&s->life);
    if (!s->login_ticket) return;
    bus_cancel(i->worker->bus, s->login_ticket);
    s->login_ticket = 0;
    life_release(&s->life);
}

void session_cut(struct session *s) {
    leave_client(s);
    stream_destroy(s->stream);
    session_detach(s);
}

void session_bye(struct session *s, const char *text) {
    if (!s->stream) return;
    if (text) session_untagged(s, "BYE %s\r\n", text);
    session_flush(s);
    leave_client(s);
    stream_finish(s->stream);
    session_detach(s);
}

void session_release_job(struct session *s) {
    if (s->release) s->release(s);
    s->release = NULL;
    s->job = NULL;
}

void session_wait(struct session *s) { life_hold(&s->life); }

bool session_resume(struct session *s) {
    life_release(&s->life);
    return s->stream != NULL;
}

void session_flush(struct session *s) {
    if (s->stream) stream_write(s->stream, buf_slice(&s->out));
    buf_reset(&s->out);
}

static void on_turn(evutil_socket_t fd, short what, void *ctx) {
    struct session *s = ctx;
    (void)fd, (void)what;
    if (session_resume(s)) s->later(s);
}

static void call_after(struct session *s, struct timeval time, void (*fn)(struct session *s)) {
    s->later = fn;
    session_wait(s);
    if (event_base_once(s->imapd->worker->base, -1, EV_TIMEOUT, on_turn, s, &time) != 0) memory_exhausted();
}

void session_later(struct session *s, void (*fn)(struct session *s)) { call_after(s, (struct timeval){0, 1}, fn); }

void session_in_a_second(struct session *s, void (*fn)(struct session *s)) {
    call_after(s, (struct timeval){1, 0}, fn);
}

static void step_on(struct session *s) {
    s->on_drained = NULL;
    if (stream_pending_output(s->stream) > LIMIT_OUTPUT_PENDING) {
        s->on_drained = step_on;
    } else if (s->step(s)) {
        s->stepped(s);
    } else {
        session_flush(s);
        session_later(s, step_on);
    }
}

void session_steps(struct session *s, bool (*step)(struct session *s), void (*done)(struct session *s)) {
    s->step = step;
    s->stepped = done;
    step_on(s);
}

void session_logged_in(struct session *s) {
    leave_client(s);
    stream_set_timeout(s->stream, LIMIT_IDLE_MS);
}

bool session_logged_out(struct session *s) {
    user_leave(s);
    login_leave(&s->validity);
    free(s->address);
    s->address = NULL;
    s->rev2 = s->condstore = s->qresync = s->utf8 = s->uidonly = false;
    s->state = SESSION_NOT_AUTHENTICATED;
    s->accepted_us = clock_monotonic_us();
    stream_set_timeout(s->stream, LIMIT_PRE_LOGIN_MS);
    s->counted = clients_enter(s->imapd->process->clients, stream_peer(s->stream));
    return s->counted;
}

void session_untagged(struct session *s, const char *format, ...) {
    va_list ap;
    buf_add_str(&s->out, "* ");
    va_start(ap, format);
    write_formatted(&s->out, format, ap);
    va_end(ap);
}

void session_plus(struct session *s, const char *text) {
    buf_printf(&s->out, "+ %s\r\n", text);
    session_flush(s);
}
