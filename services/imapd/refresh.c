/* Reports the changes of the selected folder since the last report, from the store to the
 * client. */
#include <stdlib.h>

#include "libcommon/base/clock.h"
#include "services/imapd/imapd.h"

static const char *const system_flags[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"};

void write_flag_names(struct session *s, uint64_t flags) {
    const char *space = "";
    for (size_t bit = 0; bit < sizeof system_flags / sizeof *system_flags; bit++) {
        if (!(flags >> bit & 1)) continue;
        buf_printf(&s->out, "%s%s", space, system_flags[bit]);
        space = " ";
    }
    for (size_t k = 0; k < s->view.keyword_count; k++) {
        if (!(flags >> (MAILBOX_KEYWORD_SHIFT + k) & 1)) continue;
        buf_printf(&s->out, "%s%s", space, s->view.keywords[k]);
        space = " ";
    }
}

void write_flags(struct session *s, uint64_t flags) {
    buf_add_str(&s->out, "FLAGS (");
    write_flag_names(s, flags);
    buf_add_char(&s->out, ')');
}

void publish_changed(struct session *s, uint32_t folder, uint64_t modseq, const char *kind) {
    json_t *data = json_pack("{s:s, s:I, s:I, s:s}", "user", s->user->id, "folder", (json_int_t)folder, "modseq",
                             (json_int_t)modseq, "kind", kind);
    bus_publish(s->imapd->worker->bus, "mailbox.changed", slice_of(s->user->id), data);
}

void publish_fetched(struct session *s, const struct mailbox_record *record) {
    json_t *data = json_pack("{s:s, s:I, s:{s:s}, s:s, s:s, s:I}", "user", s->user->id, "uid", (json_int_t)record->uid,
                             "client", "ip", stream_peer(s->stream), "protocol", "imap", "tls",
                             stream_tls_version(s->stream), "size", (json_int_t)record->size);
    bus_publish(s->imapd->worker->bus, "mail.fetched", slice_of(record->blob), data);
}

static void publish_announced(struct session *s, const struct mailbox_record *record, struct slice folder) {
    json_t *data = json_pack("{s:s, s:s%, s:I, s:{s:s}, s:s, s:s}", "user", s->user->id, "folder", folder.p, folder.n,
                             "uid", (json_int_t)record->uid, "client", "ip", stream_peer(s->stream), "protocol", "imap",
                             "tls", stream_tls_version(s->stream));
    bus_publish(s->imapd->worker->bus, "mail.announced", slice_of(record->blob), data);
}

void session_unselect(struct session *s) {
    view_free(&s->view);
    free(s->saved);
    free(s->held);
    s->saved = s->held = NULL;
    s->saved_count = s->held_count = 0;
    s->stale = s->tell_exists = false;
    if (s->state == SESSION_SELECTED) s->state = SESSION_AUTHENTICATED;
}

static void tell_expunge(void *ctx, size_t sequence, uint32_t uid) {
    struct session *s = ctx;
    (void)uid;
    session_untagged(s, "%zu EXPUNGE\r\n", sequence);
}

void tell_flags(struct session *s, const struct mailbox_record *r) {
    session_untagged(s, "%zu FETCH (UID %u ", view_sequence(&s->view, r), r->uid);
    write_flags(s, r->flags);
    if (s->condstore) buf_printf(&s->out, " MODSEQ (%llu)", (unsigned long long)r->modseq);
    buf_add_str(&s->out, ")\r\n");
}

/* The answer has all messages: those in the view that are not in the answer were removed. */
static size_t gone_from(const struct view *v, size_t count, const struct mailbox_record records[], uint32_t *gone) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < v->count; i++) {
        while (at < count && records[at].uid < v->records[i].uid) at++;
        if (at == count || records[at].uid != v->records[i].uid) gone[n++] = v->records[i].uid;
    }
    return n;
}

static void tell_gone(struct session *s, size_t count, uint32_t *gone) {
    if (!count) return;
    numbers_sort(count, gone);
    size_t known = 0;
    for (size_t i = 0; i < count; i++)
        if (view_find(&s->view, gone[i])) gone[known++] = gone[i];
    if (!known) return;
    if (s->hold_expunges) {
        free(s->held);
        s->held = memory_alloc(known * sizeof *s->held);
        memcpy(s->held, gone, known * sizeof *s->held);
        s->held_count = known;
        return;
    }
    s->held_count = 0;
    if (s->qresync) { /* RFC 7162 §3.2.10 */
        buf_add_str(&s->out, "* VANISHED ");
        set_write(&s->out, known, gone);
        buf_add_str(&s->out, "\r\n");
    }
    view_remove(&s->view, known, gone, s->qresync ? NULL : tell_expunge, s);
}

static void tell_changes(struct session *s, const struct mailbox_folder *folder, bool full, size_t count,
                         const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct view *v = &s->view;
    size_t gone_count = full ? 0 : vanished_count, before;
    uint32_t *gone = memory_alloc((v->count + vanished_count + s->held_count + 1) * sizeof *gone);
    if (full) gone_count = gone_from(v, count, records, gone);
    for (size_t i = 0; i < gone_count && !full; i++) gone[i] = vanished[i];
    for (size_t i = 0; i < s->held_count && !full; i++) gone[gone_count++] = s->held[i];
    tell_gone(s, gone_count, gone);
    free(gone);
    if (view_take_folder(v, folder)) {
        buf_add_str(&s->out, "* ");
        write_flags(s, ~(uint64_t)0);
        buf_add_str(&s->out, "\r\n");
    }
    before = v->count;
    uint32_t last = before ? v->records[before - 1].uid : 0;
    for (size_t i = 0; i < count; i++) {
        struct mailbox_record *known = records[i].uid <= last ? view_find(v, records[i].uid) : NULL;
        if (known) {
            bool tell = known->flags != records[i].flags || (s->condstore && known->modseq != records[i].modseq);
            *known = records[i];
            if (tell) tell_flags(s, known);
        } else if (records[i].uid > last) {
            view_append(v, &records[i]);
        }
    }
    if (v->count == before) return;
    session_untagged(s, "%zu EXISTS\r\n", v->count);
    s->tell_exists = !s->idling;
    for (size_t i = before; i < v->count; i++) publish_announced(s, &v->records[i], folder->name);
}

/* The selected folder was deleted, by a command of this session or by another one; in the second
 * case this session ends after the response to its command. */
static void folder_gone(struct session *s, void (*after)(struct session *s)) {
    bool own = s->running && slice_is_nocase(s->name, "DELETE");
    session_unselect(s);
    if (own) {
        session_untagged(s, "OK [CLOSED] The selected mailbox was deleted\r\n");
    } else {
        buf_add_slice(&s->out, buf_slice(&s->tagged));
        session_bye(s, "The selected mailbox was deleted");
        return;
    }
    if (after) after(s);
}

static void on_sync(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                    const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    void (*after)(struct session *) = s->after_refresh;
    s->refreshing = false;
    s->after_refresh = NULL;
    if (error == STORE_NOT_FOUND) {
        folder_gone(s, after);
        return;
    }
    /* If the store is not available, changes are reported later: s->stale stays set. */
    if (!error) {
        s->refreshed_us = clock_monotonic_us();
        tell_changes(s, folder, full, count, records, vanished_count, vanished);
        if (s->idling && s->tell_exists) {
            session_untagged(s, "%zu EXISTS\r\n", s->view.count);
            s->tell_exists = false;
        }
    } else {
        s->stale = true;
    }
    if (s->idling && s->out.n) s->idle_told_us = s->refreshed_us;
    session_flush(s);
    if (after)
        after(s);
    else if (s->stale && s->idling && !error)
        session_refresh(s, NULL); /* further events arrived in the meantime */
}

/* One check at a time: a running refresh is followed by another if events arrived in the meantime.
 * `after` is set only between the work of a command and its response, when no refresh is running
 * except that of an IDLE, whose end waits for it. */
void session_refresh(struct session *s, void (*after)(struct session *s)) {
    if (after) s->after_refresh = after;
    if (s->refreshing) return;
    s->stale = false;
    s->refreshing = true;
    session_wait(s);
    mailbox_sync(session_redis(s), session_user(s), s->view.folder_id, s->view.modseq, on_sync, s);
}
