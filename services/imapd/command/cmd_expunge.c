/* EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, §6.4.9). The removed messages are reported by the check
 * for changes at the end of the command. */
#include "services/imapd/imapd.h"

static void on_expunged(void *ctx, int error, size_t count, const uint32_t uids[], uint64_t modseq) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    if (error) {
        session_no_store(s, error);
        return;
    }
    snapshot_learn_removed(s->view.viewer.snapshot, count, uids, modseq);
    if (count) publish_changed(s, s->view.folder_id, modseq, "expunged");
    if (s->qresync && count)
        session_ok(s, "[HIGHESTMODSEQ %llu] EXPUNGE done", (unsigned long long)modseq);
    else
        session_ok(s, "EXPUNGE done");
}

void cmd_expunge(struct session *s, struct parser *p) {
    uint32_t *uids = NULL;
    size_t count = 0;
    if (s->by_uid ? !parse_space(p) || command_set(s, p, &uids, &count) != 0 || !parse_end(p) : !parse_end(p)) {
        session_bad(s, s->by_uid ? "UID EXPUNGE requires a set of UIDs" : "EXPUNGE has no arguments");
        return;
    }
    if (s->view.read_only) {
        session_no(s, "[READ-ONLY] The mailbox is selected read-only");
        return;
    }
    if (s->by_uid && !count) {
        session_ok(s, "EXPUNGE done");
        return;
    }
    session_wait(s);
    mailbox_expunge(session_redis(s), session_user(s), s->view.folder_id, count, uids, true, on_expunged, s);
}
