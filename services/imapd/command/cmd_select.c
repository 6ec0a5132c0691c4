/* SELECT and EXAMINE with CONDSTORE and QRESYNC (RFC 9051 §6.3.2, RFC 7162 §3.2.5), CLOSE,
 * UNSELECT. */
#include "services/imapd/imapd.h"

struct select_job {
    struct slice name;
    bool read_only;
    bool had_selected;
    bool resync; /* QRESYNC was given */
    uint32_t uidvalidity;
    uint64_t modseq;
    bool has_known;
    bool numbers;     /* QRESYNC has sequence numbers */
    struct set known; /* uids that the client knows */
    size_t at;        /* messages whose changes were told */
    struct snapshot_look look;
};

/* "(CONDSTORE)" and "(QRESYNC (uidvalidity modseq [known [(sequences uids)]]))" */
static bool parse_parameters(struct session *s, struct parser *p, struct select_job *job) {
    struct set ignored;
    if (!parse_char(p, '(')) return false;
    do {
        if (parse_word(p, "CONDSTORE")) {
            s->condstore = true;
            continue;
        }
        if (!parse_word(p, "QRESYNC") || !s->qresync || !parse_space(p) || !parse_char(p, '(') ||
            !parse_u32(p, &job->uidvalidity) || !parse_space(p) || !parse_u64(p, &job->modseq))
            return false;
        job->resync = true;
        if (parse_space(p) && parse_peek(p) != '(') {
            job->has_known = parse_set(p, &job->known) && !job->known.saved;
            if (!job->has_known) return false;
            parse_space(p);
        }
        if (parse_char(p, '(') && (job->numbers = true) &&
            (!parse_set(p, &ignored) || !parse_space(p) || !parse_set(p, &ignored) || !parse_char(p, ')')))
            return false;
        if (!parse_char(p, ')')) return false;
    } while (parse_space(p));
    return parse_char(p, ')');
}

static void write_selected(struct session *s) {
    struct view *v = &s->view;
    size_t unseen = 0;
    char id[MAILBOX_OBJECT_ID_MAX];
    buf_add_str(&s->out, "* ");
    write_flags(s, ~(uint64_t)0);
    buf_add_str(&s->out, "\r\n");
    if (v->read_only) {
        buf_add_str(&s->out, "* OK [PERMANENTFLAGS ()] Read-only\r\n");
    } else {
        buf_add_str(&s->out, "* OK [PERMANENTFLAGS (");
        write_flag_names(s, ~(uint64_t)0);
        buf_add_str(&s->out, " \\*)] Flags permitted\r\n");
    }
    tell_exists(s);
    if (!s->rev2 && !s->uidonly) {
        while (unseen < v->count && view_at(v, unseen)->flags & MAILBOX_SEEN) unseen++;
        if (unseen < v->count) session_untagged(s, "OK [UNSEEN %zu] First unseen message\r\n", unseen + 1);
    }
    session_untagged(s, "OK [UIDVALIDITY %u] UIDs are valid\r\n", v->uidvalidity);
    session_untagged(s, "OK [UIDNEXT %u] Predicted next UID\r\n", v->uidnext);
    session_untagged(s, "OK [HIGHESTMODSEQ %llu] Highest mod-sequence\r\n", (unsigned long long)v->modseq);
    session_untagged(s, "OK [MAILBOXID (%.*s)] Mailbox id\r\n", /* RFC 8474 §4.2 */
                     SLICE_FMT(mailbox_folder_object_id(snapshot_owner(v->viewer.snapshot), v->folder_id, id)));
    if (s->rev2) {
        buf_add_str(&s->out, "* LIST () \"/\" ");
        name_to_client(s, snapshot_name(v->viewer.snapshot));
        buf_add_str(&s->out, "\r\n");
    }
}

static void end(struct session *s) {
    struct select_job *job = s->job;
    session_ok_quietly(s, "[%s] %.*s done", job->read_only ? "READ-ONLY" : "READ-WRITE", SLICE_FMT(s->name));
}

/* The changes since a client's last session (RFC 7162 §3.2.5): vanished uids that it may know, then
 * changed flags. */
static bool resync_step(struct session *s) {
    struct select_job *job = s->job;
    const struct view *v = &s->view;
    size_t stop = job->at + LIMIT_STEP_RECORDS;
    for (; job->at < v->count && job->at < stop && s->out.n < LIMIT_STEP_OUTPUT; job->at++) {
        const struct mailbox_record *r = view_at(v, job->at);
        if (r->modseq <= job->modseq || !set_has(&job->known, r->uid)) continue;
        buf_add_str(&s->out, write_fetch_start(s, job->at + 1, r->uid, true));
        write_flags_of(s, r);
        buf_printf(&s->out, " MODSEQ (%llu))\r\n", (unsigned long long)r->modseq);
    }
    return job->at == v->count;
}

static void on_resync(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                      const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct session *s = ctx;
    (void)folder, (void)count, (void)records;
    if (!session_resume(s)) return;
    struct select_job *job = s->job;
    struct view *v = &s->view;
    if (error) {
        session_unselect(s);
        session_no_store(s, error);
        return;
    }
    if (!job->has_known) {
        job->known.ranges = arena_alloc(s->arena, sizeof *job->known.ranges);
        job->known.ranges[0] = (struct range){1, v->uidnext - 1};
        job->known.count = v->uidnext > 1;
    }
    set_resolve(&job->known, v->uidnext - 1);
    struct buf gone = {0};
    write_vanished(&gone, v, &job->known, full, vanished_count, vanished);
    if (gone.n) session_untagged(s, "VANISHED (EARLIER) %s\r\n", buf_str(&gone));
    buf_free(&gone);
    session_steps(s, resync_step, end);
}

static void selected(struct session *s) {
    struct select_job *job = s->job;
    const struct view *v = &s->view;
    if (job->had_selected) session_untagged(s, "OK [CLOSED] Previous mailbox closed\r\n");
    write_selected(s);
    if (!job->resync || job->uidvalidity != v->uidvalidity) {
        end(s);
        return;
    }
    session_wait(s);
    mailbox_sync(session_redis(s), session_user(s), v->folder_id, job->modseq, on_resync, s);
}

static void on_look(void *ctx, int error) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct select_job *job = s->job;
    struct view *v = &s->view;
    if (error) {
        session_unselect(s);
        session_no_store(s, error);
        return;
    }
    view_open(v, job->read_only);
    s->state = SESSION_SELECTED;
    s->exists_heard_uid = view_last_uid(v);
    session_take_recent(s, v->told, 0, selected);
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct select_job *job = s->job;
    const struct mailbox_folder *folder = session_folder(s, error, count, folders, job->name, "NONEXISTENT");
    if (!folder) return;
    session_select(s, folder->id);
    session_wait(s);
    job->look = (struct snapshot_look){.done = on_look, .ctx = s};
    snapshot_look(s->view.viewer.snapshot, &job->look);
}

static void select_folder(struct session *s, struct parser *p, bool read_only) {
    struct select_job *job = arena_alloc(s->arena, sizeof *job);
    struct slice wire;
    s->job = job;
    job->read_only = read_only;
    if (!parse_space(p) || !parse_astring(p, &wire) || (parse_space(p) && !parse_parameters(s, p, job)) ||
        !parse_end(p)) {
        session_bad(s, "SELECT requires a mailbox name");
        return;
    }
    if (job->numbers && s->uidonly) {
        session_bad(s, UID_REQUIRED);
        return;
    }
    /* The previous mailbox is closed, even if this command fails (RFC 9051 §6.3.2). */
    job->had_selected = s->state == SESSION_SELECTED;
    session_unselect(s);
    if (!name_from_client(s, wire, &job->name)) {
        session_no(s, "[NONEXISTENT] No such mailbox");
        return;
    }
    session_wait(s);
    mailbox_folder_find(session_redis(s), session_user(s), job->name, on_folders, s);
}

void cmd_select(struct session *s, struct parser *p) { select_folder(s, p, false); }
void cmd_examine(struct session *s, struct parser *p) { select_folder(s, p, true); }

static void on_close_expunged(void *ctx, int error, size_t count, const uint32_t uids[], uint64_t modseq) {
    struct session *s = ctx;
    (void)uids;
    if (!session_resume(s)) return;
    if (error) {
        session_no_store(s, error);
        return;
    }
    if (count) publish_changed(s, s->view.folder_id, modseq, "expunged");
    session_unselect(s);
    session_ok(s, "CLOSE done");
}

/* Removes messages with \Deleted without untagged responses, and unselects (RFC 9051 §6.4.1). */
void cmd_close(struct session *s, struct parser *p) {
    (void)p;
    if (s->view.read_only) {
        session_unselect(s);
        session_ok(s, "CLOSE done");
        return;
    }
    session_wait(s);
    mailbox_expunge(session_redis(s), session_user(s), s->view.folder_id, 0, NULL, true, on_close_expunged, s);
}

void cmd_unselect(struct session *s, struct parser *p) {
    (void)p;
    session_unselect(s);
    session_ok(s, "UNSELECT done");
}
