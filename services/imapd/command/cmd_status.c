/* STATUS (RFC 9051 §6.3.11). */
#include "services/imapd/syntax/status.h"

struct status_job {
    struct slice name;
    unsigned items;
};

static void on_folders(void *ctx, int error, size_t count, const struct mailbox_folder folders[]) {
    struct session *s = ctx;
    if (!session_resume(s)) return;
    struct status_job *job = s->job;
    const struct mailbox_folder *folder = session_folder(s, error, count, folders, job->name, "NONEXISTENT");
    if (!folder) return;
    write_status(s, folder, job->items);
    session_ok_quietly(s, "STATUS done"); /* it asks about this folder, not about the selected one */
}

void cmd_status(struct session *s, struct parser *p) {
    struct status_job *job = arena_alloc(s->arena, sizeof *job);
    struct slice wire;
    s->job = job;
    if (!parse_space(p) || !parse_astring(p, &wire) || !parse_space(p) || !(job->items = parse_status_items(p)) ||
        !parse_end(p)) {
        session_bad(s, "STATUS requires a mailbox and a list of items");
        return;
    }
    if (!name_from_client(s, wire, &job->name)) {
        session_no(s, "[NONEXISTENT] No such mailbox");
        return;
    }
    if (job->items & STATUS_HIGHESTMODSEQ) s->condstore = true; /* RFC 7162 §3.1 */
    session_wait(s);
    mailbox_folder_find(session_redis(s), session_user(s), job->name, on_folders, s);
}
