/* The state of INBOX at login, and the deletions at QUIT (RFC 1939 §4, §6). */
#include <stdlib.h>

#include "libcommon/base/log.h"
#include "services/pop3d/pop3d.h"

static void give_up(struct session *s, int error) {
    log_warn("cannot open an INBOX", "session", s->trace, "user", s->user, "reason", store_error_text(error), NULL);
    lock_release(s); /* the client may log in again */
    session_err(s, "[SYS/TEMP] the mailbox is not available now, try again later");
}

static void on_sync(void *ctx, int error, const struct mailbox_folder *folder, bool full, size_t count,
                    const struct mailbox_record records[], size_t vanished_count, const uint32_t vanished[]) {
    struct session *s = ctx;
    uint64_t bytes = 0;
    (void)full, (void)vanished_count, (void)vanished;
    if (!session_resume(s)) return;
    if (error) {
        give_up(s, error);
        return;
    }
    s->uidvalidity = folder->uidvalidity;
    s->count = count;
    s->drops = memory_alloc((count + 1) * sizeof *s->drops);
    for (size_t i = 0; i < count; i++) {
        s->drops[i].uid = records[i].uid;
        s->drops[i].size = records[i].size;
        memcpy(s->drops[i].blob, records[i].blob, sizeof s->drops[i].blob);
        bytes += records[i].size;
    }
    session_logged_in(s);
    session_ok(s, "%zu messages (%llu octets)", count, (unsigned long long)bytes);
}

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    if (error || count == 0) {
        give_up(s, error ? error : STORE_NOT_FOUND);
        return;
    }
    s->folder_id = folders[0].id; /* INBOX is first */
    session_wait(s);
    mailbox_sync(s->pop3d->worker->redis, slice_of(s->user), s->folder_id, 0, on_sync, s);
}

void maildrop_open(struct session *s) {
    session_wait(s);
    mailbox_folders(s->pop3d->worker->redis, slice_of(s->user), on_folders, s);
}

static void on_expunged(void *ctx, int error, size_t count, const uint32_t uids[], uint64_t modseq) {
    struct session *s = ctx;
    (void)uids;
    if (!error && count) {
        json_t *data = json_pack("{s:s, s:I, s:I, s:s}", "user", s->user, "folder", (json_int_t)s->folder_id, "modseq",
                                 (json_int_t)modseq, "kind", "expunged");
        bus_publish(s->pop3d->worker->bus, "mailbox.changed", slice_of(s->user), data);
    }
    if (!session_resume(s)) return;
    if (error)
        session_err(s, "[SYS/TEMP] deleted messages may not all be removed");
    else
        session_ok(s, "bye, %zu messages removed", count);
    session_close(s, NULL);
}

void maildrop_quit(struct session *s) {
    size_t n = 0;
    uint32_t *uids = memory_alloc((s->count + 1) * sizeof *uids);
    for (size_t i = 0; i < s->count; i++)
        if (s->drops[i].deleted) uids[n++] = s->drops[i].uid;
    if (n && !lock_holds(s)) {
        session_err(s, "[SYS/TEMP] the lock of the mailbox was lost; nothing was deleted");
        session_close(s, NULL);
    } else if (n) {
        session_wait(s);
        mailbox_expunge(s->pop3d->worker->redis, slice_of(s->user), s->folder_id, n, uids, false, on_expunged, s);
    } else {
        session_ok(s, "bye");
        session_close(s, NULL);
    }
    free(uids);
}
