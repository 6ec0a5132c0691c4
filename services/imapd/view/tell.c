/* Tells the client the difference between what it knows of the selected folder and what the worker
 * knows, in pieces, so that neither a large difference nor a slow client holds others up. */
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
        if (!(flags >> (MAILBOX_KEYWORD_SHIFT + k) & 1) || !*s->view.keywords[k]) continue;
        buf_printf(&s->out, "%s%s", space, s->view.keywords[k]);
        space = " ";
    }
}

void write_flags(struct session *s, uint64_t flags) {
    buf_add_str(&s->out, "FLAGS (");
    write_flag_names(s, flags);
    buf_add_char(&s->out, ')');
}

void write_flags_of(struct session *s, const struct mailbox_record *r) {
    buf_add_str(&s->out, "FLAGS (");
    if (view_is_recent(&s->view, r->uid)) buf_add_str(&s->out, r->flags ? "\\Recent " : "\\Recent");
    write_flag_names(s, r->flags);
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

struct telling {
    struct snapshot_look look;
    void (*after)(struct session *s);
    bool expunges;             /* may be told */
    struct version *from, *to; /* NULL: not begun */
    struct difference difference;
    size_t announced;
    uint32_t last_uid; /* that the client knew before */
    bool recent_later; /* \Recent is taken after EXISTS was told */
};

static void telling_free(struct session *s) {
    if (!s->telling) return;
    version_release(s->telling->from);
    version_release(s->telling->to);
    free(s->telling);
    s->telling = NULL;
}

void session_unselect(struct session *s) {
    telling_free(s);
    if (s->follower) s->follower->end(s);
    view_close(&s->view);
    free(s->saved);
    s->saved = NULL;
    s->saved_count = 0;
    if (s->state == SESSION_SELECTED) s->state = SESSION_AUTHENTICATED;
}

const char *write_fetch_start(struct session *s, size_t sequence, uint32_t uid, bool with_uid) {
    if (s->uidonly) {
        session_untagged(s, "%u UIDFETCH (", uid);
        return "";
    }
    session_untagged(s, "%zu FETCH (", sequence);
    if (with_uid) buf_printf(&s->out, "UID %u", uid);
    return with_uid ? " " : "";
}

static void write_flags_fetch(struct session *s, size_t sequence, const struct mailbox_record *r) {
    buf_add_str(&s->out, write_fetch_start(s, sequence, r->uid, true));
    write_flags_of(s, r);
    if (s->condstore) buf_printf(&s->out, " MODSEQ (%llu)", (unsigned long long)r->modseq);
    buf_add_str(&s->out, ")\r\n");
}

void tell_flags(struct session *s, const struct mailbox_record *r) {
    write_flags_fetch(s, view_sequence(&s->view, r), r);
}

/* Removals are told by uid (RFC 7162 §3.2.10, RFC 9586). */
static bool tells_vanished(const struct session *s) { return s->qresync || s->uidonly; }

/* RFC 7162 §3.2.10: all at once, before the changes of those that stay. */
static void tell_vanished(struct session *s, const struct telling *t) {
    struct difference d = {.told = t->from, .now = t->to};
    uint32_t *gone = memory_alloc((t->from->count + 1) * sizeof *gone);
    size_t n = 0, work = SIZE_MAX;
    while (difference_next(&d, &work))
        if (!d.to) gone[n++] = d.from->uid;
    if (n) {
        buf_add_str(&s->out, "* VANISHED ");
        set_write(&s->out, n, gone);
        buf_add_str(&s->out, "\r\n");
    }
    free(gone);
}

static void begin(struct session *s, struct telling *t) {
    t->from = version_hold(s->view.told);
    t->to = version_hold(snapshot_now(s->view.viewer.snapshot));
    t->difference = (struct difference){.told = t->from, .now = t->to};
}

static void write_beginning(struct session *s, const struct telling *t) {
    if (t->expunges && s->follower) s->follower->before_removals(s, t->to);
    if (t->expunges && tells_vanished(s)) tell_vanished(s, t);
    if (t->to->keywords != t->from->keywords) {
        view_tell_keywords(&s->view, t->to->keywords);
        buf_add_str(&s->out, "* ");
        write_flags(s, ~(uint64_t)0);
        buf_add_str(&s->out, "\r\n");
    }
}

static void tell_one(struct session *s, struct telling *t) {
    const struct difference *d = &t->difference;
    if (!d->from) { /* EXISTS comes at the end */
        if (t->announced++ < LIMIT_ANNOUNCED_EVENTS)
            publish_announced(s, d->to, snapshot_name(s->view.viewer.snapshot));
    } else if (!d->to) {
        if (t->expunges && !tells_vanished(s)) session_untagged(s, "%zu EXPUNGE\r\n", d->kept + 1);
    } else if (d->to->flags != d->from->flags || s->condstore) {
        write_flags_fetch(s, t->expunges ? d->kept : d->kept + d->gone, d->to);
    }
}

static void write_exists(struct session *s) { session_untagged(s, "%zu EXISTS\r\n", s->view.count); }

static void write_recent(struct session *s) {
    if (!s->rev2) session_untagged(s, "%zu RECENT\r\n", view_count_recent(&s->view));
}

void tell_exists(struct session *s) {
    write_exists(s);
    write_recent(s);
}

static bool tell_step(struct session *s) {
    struct telling *t = s->telling;
    size_t work = LIMIT_STEP_RECORDS;
    while (s->out.n < LIMIT_STEP_OUTPUT && difference_next(&t->difference, &work)) tell_one(s, t);
    return s->out.n < LIMIT_STEP_OUTPUT && work;
}

/* All is told, also what follows from it. */
static void told(struct session *s) {
    void (*after)(struct session *) = s->telling->after;
    if (s->idling && s->out.n) s->idle_told_us = clock_monotonic_us();
    telling_free(s);
    session_flush(s);
    if (after)
        after(s);
    else
        life_wake(&s->life); /* more may have happened in the meantime */
}

static void follow(struct session *s) {
    if (s->follower)
        s->follower->follow(s, told);
    else
        told(s);
}

static void on_recent_taken(struct session *s) {
    write_recent(s);
    follow(s);
}

static void tell_end(struct session *s) {
    struct telling *t = s->telling;
    bool keep_gone = !t->expunges && t->difference.gone;
    size_t before = s->view.count - (t->expunges ? t->difference.gone : 0);
    t->last_uid = view_last_uid(&s->view);
    view_tell(&s->view, version_merge(t->from, t->to, keep_gone));
    bool more = s->view.count > before;
    /* Some clients expect new mail to be told only in IDLE: what came with the response to another
     * command is told again there. */
    bool again = s->idling && view_last_uid(&s->view) > s->exists_heard_uid;
    if (s->idling) s->exists_heard_uid = view_last_uid(&s->view);
    if (more && t->recent_later) {
        write_exists(s);
        session_flush(s);
        session_take_recent(s, t->to, t->last_uid, on_recent_taken);
        return;
    }
    if (more || again) tell_exists(s);
    follow(s);
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

static void write_difference(struct session *s) {
    write_beginning(s, s->telling);
    session_steps(s, tell_step, tell_end);
}

static void tell(struct session *s) {
    struct telling *t = s->telling;
    struct snapshot *snapshot = s->view.viewer.snapshot;
    if (snapshot_is_gone(snapshot)) {
        folder_gone(s, t->after);
        return;
    }
    begin(s, t);
    t->recent_later = s->idling; /* a person waits for EXISTS, and taking \Recent waits for the disk */
    if (t->recent_later) {
        write_difference(s);
        return;
    }
    session_take_recent(s, t->to, view_last_uid(&s->view), write_difference);
}

/* If the store is not available, changes are told later. */
static void on_look(void *ctx, int error) {
    struct session *s = ctx;
    (void)error;
    if (session_resume(s)) tell(s);
}

void session_tell(struct session *s, bool look, bool expunges, void (*after)(struct session *s)) {
    bool news = look || view_is_behind(&s->view) || snapshot_is_gone(s->view.viewer.snapshot);
    if (!news && !(s->follower && s->follower->is_behind(s))) {
        if (after) after(s);
        return;
    }
    struct telling *t = s->telling = memory_alloc(sizeof *t);
    t->after = after;
    if (!news) { /* but the session's own changes, which it knows */
        follow(s);
        return;
    }
    t->expunges = expunges;
    if (look) {
        t->look = (struct snapshot_look){.done = on_look, .ctx = s};
        session_wait(s);
        snapshot_look(s->view.viewer.snapshot, &t->look);
    } else {
        tell(s);
    }
}

bool session_tell_later(struct session *s, void (*after)(struct session *s)) {
    if (!s->telling) return false;
    s->telling->after = after;
    return true;
}

void session_telling_end(struct session *s) { telling_free(s); }

/* Woken by the folder's copy. */
static void on_news(void *ctx) {
    struct session *s = ctx;
    life_wake(&s->life);
}

void session_select(struct session *s, uint32_t folder_id) {
    s->view.viewer.news = on_news;
    s->view.viewer.ctx = s;
    snapshot_join(s->imapd->snapshots, session_user(s), folder_id, &s->view.viewer);
}
