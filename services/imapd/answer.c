/* The ends of commands. */
#include <stdarg.h>

#include "services/imapd/command/extensions.h"
#include "services/imapd/imapd.h"
#include "services/imapd/write.h"

/* Writes the tagged response and makes the session ready for the next command, which begins from
 * the loop. Between commands a session holds no buffers: thousands of them do nothing. */
static void end_command(struct session *s) {
    buf_add_slice(&s->out, buf_slice(&s->tagged));
    session_flush(s);
    if (s->compress) { /* from the end of this response on (RFC 4978 §3) */
        stream_compress(s->stream);
        s->compress = false;
    }
    buf_free(&s->tagged);
    buf_free(&s->out);
    s->running = false;
    session_release_job(s);
    budget_give(&s->imapd->process->budget, &s->input_taken);
    s->on_line = NULL;
    s->on_drained = NULL;
    s->tag = slice_make("", 0);
    buf_free(&s->input);
    arena_reset(s->arena);
    life_wake(&s->life);
}

/* What IDLE was telling may have begun before a change that happened before the client sent DONE: a
 * command's response comes after all changes that were made before it (RFC 9051 §5.2). */
static void look_and_end(struct session *s) {
    if (s->state == SESSION_SELECTED)
        session_tell(s, true, true, end_command);
    else
        end_command(s);
}

/* How the end of a command handles changes of the selected folder. */
enum look {
    LOOK_NOT,
    LOOK_FOR_NEWS, /* tell what is known, looking first if an event arrived; no EXPUNGE except after
                      a UID command */
    LOOK,
};

__attribute__((format(printf, 4, 0))) static void finish(struct session *s, const char *word, enum look look,
                                                         const char *format, va_list ap) {
    s->on_line = NULL;
    buf_reset(&s->tagged);
    buf_printf(&s->tagged, "%.*s %s ", SLICE_FMT(s->tag), word);
    write_formatted(&s->tagged, format, ap);
    buf_add_str(&s->tagged, "\r\n");
    /* what IDLE tells is whole before its end */
    if (session_tell_later(s, look == LOOK ? look_and_end : end_command)) return;
    if (s->state != SESSION_SELECTED || look == LOOK_NOT)
        end_command(s);
    else
        session_tell(s, look == LOOK || snapshot_is_stale(s->view.viewer.snapshot), look == LOOK || s->by_uid,
                     end_command);
}

void session_ok(struct session *s, const char *format, ...) {
    va_list ap;
    s->bad_commands = 0;
    va_start(ap, format);
    finish(s, "OK", LOOK, format, ap);
    va_end(ap);
}

void session_ok_quietly(struct session *s, const char *format, ...) {
    va_list ap;
    s->bad_commands = 0;
    va_start(ap, format);
    finish(s, "OK", LOOK_FOR_NEWS, format, ap);
    va_end(ap);
}

void session_no(struct session *s, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    finish(s, "NO", LOOK_NOT, format, ap);
    va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void bad(struct session *s, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    finish(s, "BAD", LOOK_NOT, format, ap);
    va_end(ap);
}

void session_bad(struct session *s, const char *text) {
    if (++s->bad_commands >= LIMIT_BAD_COMMANDS) {
        session_bye(s, "Too many bad commands");
        return;
    }
    bad(s, "%s", text);
}

void session_no_store(struct session *s, int error) {
    switch (error) {
    case STORE_FULL: session_no(s, "[UNAVAILABLE] The message store is full; reading and deleting are possible"); break;
    case STORE_OVER_QUOTA: session_no(s, "[OVERQUOTA] The mailbox is full"); break;
    case STORE_NOT_FOUND: session_no(s, "[NONEXISTENT] No such mailbox or message"); break;
    case STORE_EXISTS: session_no(s, "[ALREADYEXISTS] Mailbox already exists"); break;
    case STORE_INVALID: session_no(s, "[CANNOT] Not allowed"); break;
    case STORE_LIMIT: session_no(s, "[LIMIT] The mailbox has too many keywords"); break; /* RFC 9051 §7.1 */
    case STORE_CONFLICT: session_no(s, "[INUSE] Changed by another session, or in use"); break;
    default: session_no(s, "[UNAVAILABLE] The mail store cannot be reached; try again later"); break;
    }
}

const struct mailbox_folder *session_folder(struct session *s, int error, size_t count,
                                            const struct mailbox_folder folders[], struct slice name,
                                            const char *code) {
    if (error) {
        session_no_store(s, error);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (slice_equal(folders[i].name, name)) return &folders[i];
    session_no(s, "[%s] No such mailbox", code);
    return NULL;
}

void session_capability(struct session *s, struct buf *out) {
    bool tls = s->tls || s->implicit_tls;
    extensions_write(s->state >= SESSION_AUTHENTICATED ? EXTENSION_LOGGED_IN
                     : tls                             ? EXTENSION_TLS
                                                       : EXTENSION_PLAIN,
                     out);
}
