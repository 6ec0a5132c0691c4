/* \Recent for sessions that have not enabled IMAP4rev2 (RFC 3501 §2.3.2): a message is recent in the
 * first session that may change the folder and is told of it, and in no later one. */
#include "services/imapd/imapd.h"

static void on_recent(void *ctx, int error, uint32_t before) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    uint32_t bound = s->recent_bound;
    if (!error) {
        view_note_recent(&s->view, before > s->recent_after ? before : s->recent_after + 1, bound - 1);
        if (!s->view.read_only) snapshot_set_recent(s->view.viewer.snapshot, bound);
    }
    s->recent_done(s);
}

void session_take_recent(struct session *s, const struct version *to, uint32_t after, void (*done)(struct session *s)) {
    struct snapshot *snapshot = s->view.viewer.snapshot;
    if (s->rev2 || version_last_uid(to) <= after || to->uidnext <= snapshot_recent(snapshot)) {
        done(s);
        return;
    }
    s->recent_bound = to->uidnext;
    s->recent_after = after;
    s->recent_done = done;
    session_wait(s);
    mailbox_recent(session_redis(s), session_user(s), snapshot_folder(snapshot), s->view.read_only ? 0 : to->uidnext,
                   on_recent, s);
}
