/* The exclusive lock of a maildrop (RFC 1939 §4, [IN-USE] of RFC 2449 §8.1.1): held from the login
 * on, extended while the session lasts, released at its end. It expires, so that the lock of a
 * process that was killed hinders nobody for long. */
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/store/mailbox_lock.h"
#include "services/pop3d/pop3d.h"

static void lost(struct session *s) {
    log_warn("the lock of a maildrop was lost", "session", s->trace, "user", s->user, NULL);
    s->locked = false;
    session_close(s, "[SYS/TEMP] the lock of the mailbox was lost, log in again; nothing was deleted");
}

static void on_locked(void *ctx, int error) {
    struct session *s = ctx;
    s->locked = !error;
    if (!session_resume(s)) return;
    if (!error) {
        s->lock_end_us = s->lock_asked_us + POP3_LOCK_MS * 1000;
        s->locked_then(s);
    } else if (error == STORE_LOST) {
        session_err(s, "[IN-USE] the mailbox is open in another POP3 session, try again later");
    } else {
        session_err(s, "[SYS/TEMP] the mailbox is not available now, try again later");
    }
}

void lock_take(struct session *s, void (*then)(struct session *s)) {
    s->locked_then = then;
    s->lock_asked_us = clock_monotonic_us();
    session_wait(s);
    mailbox_lock(s->pop3d->worker->redis, slice_of(s->user), s->trace, POP3_LOCK_MS, on_locked, s);
}

bool lock_holds(const struct session *s) { return s->locked && clock_monotonic_us() < s->lock_end_us; }

static void on_extended(void *ctx, int error) {
    struct session *s = ctx;
    life_release(&s->life);
    if (!s->stream) return;
    if (error == STORE_LOST)
        lost(s);
    else if (!error)
        s->lock_end_us = s->lock_asked_us + POP3_LOCK_MS * 1000;
}

static void keep(struct session *s, int64_t now) {
    if (!s->locked) return;
    if (now >= s->lock_end_us) {
        lost(s);
    } else if (now - s->lock_asked_us >= POP3_LOCK_MS / 3 * 1000) {
        s->lock_asked_us = now;
        life_hold(&s->life);
        mailbox_lock_extend(s->pop3d->worker->redis, slice_of(s->user), s->trace, POP3_LOCK_MS, on_extended, s);
    }
}

void locks_keep(struct pop3d *p) {
    int64_t now = clock_monotonic_us();
    for (struct session *s = p->sessions; s; s = s->next)
        if (s->stream) keep(s, now);
}

void lock_release(struct session *s) {
    if (s->locked) mailbox_unlock(s->pop3d->worker->redis, slice_of(s->user), s->trace);
    s->locked = false;
}
