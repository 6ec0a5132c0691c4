/* What commands need of their session: lines to the client, waits, the end. */
#include <stdarg.h>
#include <stdio.h>

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "services/pop3d/pop3d.h"

static void leave_client(struct session *s) {
    if (s->counted) clients_leave(s->pop3d->process->clients, stream_peer(s->stream));
    s->counted = false;
}

__attribute__((format(printf, 3, 0))) static void write_line(struct session *s, const char *sign, const char *format,
                                                             va_list args) {
    char text[512];
    if (!s->stream) return;
    vsnprintf(text, sizeof text, format, args);
    stream_printf(s->stream, "%s%s%s\r\n", sign, *text ? " " : "", text);
}

void session_ok(struct session *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line(s, "+OK", format, args);
    va_end(args);
}

void session_err(struct session *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line(s, "-ERR", format, args);
    va_end(args);
}

void session_store_err(struct session *s, int error) {
    if (error == STORE_NOT_FOUND)
        session_err(s, "[SYS/PERM] the message is no longer there");
    else
        session_err(s, "[SYS/TEMP] the mailbox is not available now, try again later");
}

void session_close(struct session *s, const char *text) {
    if (!s->stream) return;
    if (text) session_err(s, "%s", text);
    leave_client(s);
    stream_finish(s->stream);
    s->stream = NULL;
    life_end(&s->life);
}

void session_cut(struct session *s) {
    leave_client(s);
    stream_destroy(s->stream);
    s->stream = NULL;
    life_end(&s->life);
}

void session_wait(struct session *s) {
    s->waiting = true;
    life_hold(&s->life);
}

bool session_resume(struct session *s) {
    s->waiting = false;
    life_release(&s->life);
    return s->stream != NULL;
}

void session_logged_in(struct session *s) {
    s->state = POP3_TRANSACTION;
    leave_client(s);
    stream_set_timeout(s->stream, POP3_IDLE_TIMEOUT_MS);
}

void sessions_check_time(struct pop3d *p) {
    const struct pop3d_process *limits = p->process;
    int64_t now = clock_monotonic_us();
    for (struct session *s = p->sessions; s; s = s->next) {
        if (!s->stream) continue;
        if (s->state == POP3_AUTHORIZATION && now - s->accepted_us > limits->login_us)
            session_close(s, "[SYS/TEMP] too long without a login");
        else if (s->command_since_us && now - s->command_since_us > limits->command_us)
            session_close(s, "[SYS/TEMP] the command takes too long to arrive");
    }
}
